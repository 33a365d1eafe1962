"""The documentation as a site, in a real browser: from the disk and from a server, wide and narrow, light and dark."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("mkdocs", reason="the extra docs is not installed")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine")

SCREENS = [(1280, 900, "light"), (1280, 900, "dark"), (390, 844, "light"), (390, 844, "dark")]
PARTS = ("index", "tutorial", "how-to/compare", "reference/scenario", "reference/api", "results/index")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a link or an anchor that leads nowhere fails here."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as runner:
        opened = runner.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def new_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """A page; at the end nothing may have been complained of, nor asked for from another machine."""
    complaints: list[str] = []
    requests: list[str] = []
    contexts = []

    def open_(width: int = 1280, height: int = 900, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
    here = ("file:", "data:", "blob:", "http://127.0.0.1:")
    assert [url for url in requests if not url.startswith(here)] == []


@pytest.mark.parametrize(("width", "height", "scheme"), SCREENS)
def test_pages_fit_the_screen(new_page: Callable[..., Any], site: Path, width: int, height: int, scheme: str) -> None:
    page = new_page(width, height, scheme)
    for name in PARTS:
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width, name
        red, *_ = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert red > 200 if scheme == "light" else red < 60, name


def test_every_page_opens(new_page: Callable[..., Any], site: Path) -> None:
    page = new_page(390, 844)
    pages = sorted(path for path in site.rglob("*.html") if path.name != "404.html")  # that one is for servers
    assert len(pages) >= 30
    for path in pages:
        page.goto(path.as_uri())
        assert page.locator("h1").first.is_visible(), path
        assert page.evaluate("document.documentElement.scrollWidth") == 390, path


@pytest.mark.parametrize("place", ["disk", "server"])
def test_the_search_works_offline(new_page: Callable[..., Any], site: Path, served: str, place: str) -> None:
    page = new_page()
    page.goto(f"{site.as_uri() if place == 'disk' else served}/index.html")
    results = page.locator(".md-search-result__item")
    for _ in range(12):  # what is typed before the page's script listens is lost, so that a person types it again
        page.locator(".md-search__input").fill("")
        page.locator(".md-search__input").press_sequentially("sparsity")
        with suppress(playwright.TimeoutError):
            results.first.wait_for(timeout=5000)
            break
    assert int(str(page.locator(".md-search-result__meta").text_content()).split()[0]) >= 5  # "9 matching documents"
    assert "sparsity" in results.all_text_contents()[0].lower()
    results.first.locator("a").first.click()
    page.wait_for_url("**/*.html?h=sparsity*")
    page.locator("mark").first.wait_for()  # words that were found are marked on the page that opens
