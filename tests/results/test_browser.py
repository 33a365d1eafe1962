"""Reports and comparisons in a real browser: headless Chromium, wide and narrow, light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.data.plot import write_plot
from fedcompress.generators.png import write_png
from fedcompress.recipes import page as recipe_page
from fedcompress.recipes.generate import page as chain_page
from fedcompress.recipes.generate.privacy import privacy_lines
from fedcompress.recipes.generate.recipe import GeneratorRecipe
from fedcompress.results.compare import formats
from fedcompress.results.compare.comparison import compare
from fedcompress.results.report import write_report
from fedcompress.results.runs import find_runs

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine")

Make = Callable[..., Path]
SCREENS = [(1280, 900, "light"), (1280, 900, "dark"), (390, 844, "light"), (390, 844, "dark")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright.expect.set_options(timeout=30_000)  # as long as other waits: the machine may be busy
    with playwright.sync_playwright() as runner:
        opened = runner.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a file; at the end nothing may have been complained of, nor asked for from elsewhere."""
    complaints: list[str] = []
    requests: list[str] = []
    contexts = []

    def open_(path: Path, width: int = 1280, height: int = 900, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message) or dialog.dismiss())
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture
def report(make_sweep: Make, tmp_path: Path) -> Path:
    """A report with everything in it: variants, seeds, samples, warnings, failures, long names."""
    finals = {"iid": (0.80, 0.84, 0.81), "a name that is as long as people like to make them": (0.70, 0.71, 0.74)}
    sweep = make_sweep("sweep", finals, clients=12, warnings=["Something to know."])
    samples = sweep / "iid-seed-1" / "samples"
    samples.mkdir()
    write_png(samples / "round-0002.png", np.arange(64, dtype=np.uint8).reshape(8, 8, 1))
    (samples / "round-0002.json").write_text('{"accuracy_score": 0.75}')
    with (sweep / "iid-seed-1" / "clients.jsonl").open("a") as file:
        file.write(
            '{"round": 2, "action": "train", "client": 3, "group": "half", "status": "failed", "error": "NaN"}\n'
        )
    return write_report(find_runs([sweep]), tmp_path / "report.html", target=0.5)


def draw_all(page: Any) -> None:
    """Scrolls through the page until every plot is drawn."""
    for plot in page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()


DRAWN = "[...document.querySelectorAll('.plot')].map((plot) => plot.querySelector('.main-svg') !== null)"


CUT_OFF = """() => [...document.querySelectorAll("body *")].filter((element) => {
    if (element.closest(".scroll, pre, .hidden, .skip, script, style, .plot, #js-plotly-tester")) return false;
    const box = element.getBoundingClientRect();
    return box.width > 0 && (box.left < -1 || box.right > innerWidth + 1);
}).map((element) => element.outerHTML.slice(0, 120))"""


NODES = """() => {
    const all = document.createNodeIterator(document);
    let count = 0;
    while (all.nextNode()) count += 1;
    return count;
}"""


WITHIN = """(title) => {
    const [own, plot] = [title, title.closest(".plot")].map((element) => element.getBoundingClientRect());
    const wide = own.left >= plot.left - 1 && own.right <= plot.right + 1;
    return wide && own.top >= plot.top - 1 && own.bottom <= plot.bottom + 1;
}"""


@pytest.mark.parametrize(("width", "height", "scheme"), SCREENS)
def test_a_report(open_page: Callable[..., Any], report: Path, width: int, height: int, scheme: str) -> None:
    page = open_page(report, width, height, scheme)
    draw_all(page)
    page.locator("details").evaluate_all("all => all.forEach((details) => { details.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(CUT_OFF) == []
    for plot in page.locator(".plot").all():  # what is drawn fits its place
        assert plot.evaluate("p => p.querySelector('.main-svg').getBoundingClientRect().width <= p.clientWidth + 1")
    for title in page.locator(".xtitle, .ytitle").all():
        assert title.evaluate(WITHIN), title.text_content()
    red, *_ = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert red > 200 if scheme == "light" else red < 60
    text = page.locator(".plot .xtick text").first.evaluate(
        "t => getComputedStyle(t).fill.match(/\\d+/g).map(Number)[0]"
    )
    assert text < 100 if scheme == "light" else text > 150


@pytest.mark.parametrize(("width", "height", "scheme"), SCREENS)
def test_a_chain(open_page: Callable[..., Any], tmp_path: Path, width: int, height: int, scheme: str) -> None:
    """What is said of privacy is seen, and losses are drawn."""
    rows = [
        {"step": "teacher", "accuracy_score": 0.8, "kernel_distance": 0.0},
        {"step": "private", "epsilon_of_step": 9.99, "delta": 1e-5},
    ]
    for row in rows:
        (tmp_path / str(row["step"])).mkdir()
        losses = "epoch,generator_loss,discriminator_loss\n1,0.7,1.4\n2,0.6,1.3\n"
        (tmp_path / str(row["step"]) / "losses.csv").write_text(losses)
        write_png(tmp_path / str(row["step"]) / "samples.png", np.arange(64, dtype=np.uint8).reshape(8, 8, 1))
    recipe = GeneratorRecipe.parse({"name": "chain", "data": {"dataset": "digits"}})
    (tmp_path / "report.html").write_text(chain_page.html(recipe, rows, tmp_path), encoding="utf-8")
    page = open_page(tmp_path / "report.html", width, height, scheme)
    draw_all(page)
    assert page.evaluate(DRAWN) == [True, True]
    assert page.locator(".plot .xtick text").all_text_contents() == ["1", "2"] * 2
    page.locator("details").evaluate_all("all => all.forEach((details) => { details.open = true; })")
    assert page.evaluate(CUT_OFF) == []
    assert page.locator(".findings li").all_inner_texts() == privacy_lines(recipe, rows)
    assert page.locator(".pictures td").all_inner_texts() == ["0.8", "0"]


LONG = {
    "one word": "groups.phone_with_a_long_name.compression_params.sparsity=0.9_and_more_underscores_",
    "words": "a name that is as long as people like to make them and then some more words until it is too long ",
    "wide": "手机" * 40,
    "x": "x" * 200,
}


@pytest.mark.parametrize(
    ("kind", "width"), [*((kind, 390) for kind in LONG), ("one word", 320), ("wide", 1280), ("x", 1280)]
)
def test_long_names_fit_the_screen(
    open_page: Callable[..., Any], make_sweep: Make, tmp_path: Path, kind: str, width: int
) -> None:
    names = [f"{LONG[kind]}{n}" for n in (1, 2)]
    found = find_runs([make_sweep("sweep", dict(zip(names, [(0.80, 0.84), (0.70, 0.71)], strict=True)), (1, 2))])
    comparison, *_ = formats.write(compare(found), tmp_path / "comparison.html")
    for path in (write_report(found, tmp_path / "report.html", target=0.5), comparison):
        page = open_page(path, width)
        draw_all(page)
        page.locator("details").evaluate_all("all => all.forEach((details) => { details.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(CUT_OFF) == []
        for text in page.locator(".plot .legendtext, .plot .ytick text").all():  # names can be told apart by their ends
            assert text.evaluate(WITHIN), text.text_content()
        legend = page.locator("#plot-0 .legendtext").all_text_contents()
        assert [name[-1] for name in legend] == (["1", "2"] if path != comparison else [])


@pytest.mark.parametrize(("width", "height", "scheme"), SCREENS[1:3])
def test_a_comparison(
    open_page: Callable[..., Any], make_sweep: Make, tmp_path: Path, width: int, height: int, scheme: str
) -> None:
    found = find_runs([make_sweep("sweep", {"iid": (0.80, 0.84, 0.81), "skewed": (0.70, 0.71, 0.74)})])
    (path,) = formats.write(compare(found, target=0.5), tmp_path / "comparison.html")
    page = open_page(path, width, height, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(CUT_OFF) == []
    assert page.get_by_text("worse", exact=True).is_visible()


def test_the_keyboard(open_page: Callable[..., Any], report: Path) -> None:
    page = open_page(report)
    focused = "document.activeElement"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.textContent") == "Skip to the content"
    assert page.evaluate(f"{focused}.getBoundingClientRect().left >= 0")
    page.keyboard.press("Enter")
    assert page.evaluate(f"{focused}.id") == "main"
    reached = []
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(f"{focused}.tagName + '|' + ({focused}.ariaLabel ?? {focused}.textContent).trim()")
        )
        if reached[-1].startswith("SUMMARY|Numbers") and reached[-1].endswith("Global accuracy over rounds"):
            break
    details = page.locator("details", has=page.get_by_text("Numbers of: Global accuracy over rounds")).last
    assert not details.evaluate("d => d.open")
    page.keyboard.press("Enter")
    assert details.evaluate("d => d.open")
    assert "DIV|Deployed accuracy" in reached  # a table that may be wider than the screen scrolls with the arrow keys


def test_print_shows_what_is_folded(open_page: Callable[..., Any], report: Path) -> None:
    page = open_page(report, scheme="dark")
    page.emulate_media(media="print")
    playwright.expect(page.locator("details:not([open])")).to_have_count(0)
    playwright.expect(page.locator(".plot:not(:has(.main-svg))")).to_have_count(0)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()


def test_names_do_not_act(open_page: Callable[..., Any], make_run: Make, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)><b>bold</b>"
    group = {"name": name, "share": 1.0, "sparsity": 0.5}
    run = make_run(
        "run", groups=[group, {"name": "other", "share": 0.5}], settings={"name": name}, scenario=name, warnings=[name]
    )
    page = open_page(write_report(find_runs([run]), tmp_path / "report.html"))
    draw_all(page)
    assert page.locator("img").count() == 0
    assert page.get_by_text(name).count() >= 3
    assert page.locator(".plot text").filter(has_text="<b>bold</b>").count() >= 1


def test_a_recipe_with_long_names_that_do_not_act(open_page: Callable[..., Any], tmp_path: Path) -> None:
    name = "<b>bold</b><img src=x onerror=alert(1)>"
    row = {
        "step": "",
        "seed": 1,
        "bits": 8,
        "sparsity": 0.5,
        "train": 0.9,
        "validation": 0.8,
        "test": 0.8,
        "deflated_bytes": 1000,
        "parameters": 100,
        "confusion": [[3, 1], [0, 4]],
        "layer_sparsity": {f"dense{'_x' * 40}": 0.5},
        "curve": [{"phase": "dense", "epoch": n, "loss": 0.1, "sparsity": 0.5, "validation": 0.5} for n in (1, 2)],
    }
    rows = [{**row, "experiment": f"{name}{n}_{'x' * 90}"} for n in (1, 2)]
    path = tmp_path / "report.html"
    path.write_text(recipe_page.html(f"{name}_{'y' * 90}", f"key = '{'z' * 300}'", rows), encoding="utf-8")
    page = open_page(path, 390)
    draw_all(page)
    page.locator("details").evaluate_all("all => all.forEach((details) => { details.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate(CUT_OFF) == []
    assert page.locator("img, b").count() == 0
    assert page.locator("svg text").filter(has_text="<b>bold</b>").count() >= 2


@pytest.fixture(scope="module")
def large(large_run: Path) -> Path:
    """A report of 100 clients and 200 rounds."""
    return write_report(find_runs([large_run]))


def test_a_large_report_opens_at_once(open_page: Callable[..., Any], large: Path) -> None:
    """What it takes until the first plot is there: 15,000 nodes and 90,000 calls of JavaScript, 0.3 s in all."""
    assert large.stat().st_size < 8e6
    page = open_page(large)
    session = page.context.new_cdp_session(page)
    for command, settings in (
        ("Profiler.enable", {}),
        ("Profiler.startPreciseCoverage", {"callCount": True, "detailed": False}),
    ):
        session.send(command, settings)
    page.add_init_script("window.requestIdleCallback = () => {};")  # so that what is far away is never drawn
    page.reload(wait_until="commit")
    page.locator("#plot-0 .main-svg").first.wait_for()
    nodes = page.evaluate(NODES)  # the browser's own count has those of the page before it was loaded again, too
    scripts = session.send("Profiler.takePreciseCoverage")["result"]
    calls = sum(function["ranges"][0]["count"] for script in scripts for function in script["functions"])
    assert 0 < nodes < 30_000
    assert 0 < calls < 200_000


NOTE_ORDER = """window.order = [];
new MutationObserver((records) => {
    for (const node of records.flatMap((record) => [...record.addedNodes])) {
        const plot = node.parentElement?.closest?.(".plot");
        if (plot && !order.includes(plot.id)) order.push(plot.id);
    }
}).observe(document, { childList: true, subtree: true });"""


def test_a_page_is_loaded_once_all_plots_are_drawn(open_page: Callable[..., Any], large: Path) -> None:
    """So that what captures or prints it sees them; what is near the screen comes first."""
    page = open_page(large)
    assert all(page.evaluate(DRAWN))  # opening it waits for its load event, and for nothing else
    page.add_init_script(NOTE_ORDER)
    page.reload()
    assert page.evaluate("order[0]") == "plot-0"
    assert page.evaluate("order.length === document.querySelectorAll('.plot').length && order.length >= 4")
    assert page.locator("iframe").count() == 0


def test_without_scripts_there_are_the_numbers(browser: Any, large: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(large.as_uri())
    assert page.get_by_text("The plot is drawn with JavaScript").first.is_visible()
    page.get_by_text("Numbers of: Global accuracy over rounds").click()
    assert page.locator("details[open]").get_by_text("0.8960", exact=True).first.is_visible()
    context.close()


def test_the_labels_of_clients(open_page: Callable[..., Any], tmp_path: Path) -> None:
    write_plot(np.array([[5, 1], [2, 3]]), tmp_path / "plot.html", ["cat", "dog"])
    page = open_page(tmp_path / "plot.html", 390)
    draw_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator(".legendtext").all_text_contents() == ["cat", "dog"]
    page.get_by_text("Numbers of: Examples of each client").click()
    assert page.locator("tbody tr").all_text_contents() == ["0516", "1235"]
