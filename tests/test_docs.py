"""What the README and the documentation show works as it stands there: every code block, page by page."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
import tomli_w

import fedcompress
from fedcompress.cli.app import command_line
from fedcompress.errors import InputError
from fedcompress.experiment import Experiment
from fedcompress.masks import proposing
from fedcompress.masks.features import FEATURES
from fedcompress.masks.head import head_shapes
from fedcompress.masks.proposer import Proposer, shapes
from fedcompress.plugins import Plugins
from fedcompress.recipes.generate.recipe import GeneratorRecipe
from fedcompress.recipes.masks.settings import MaskRecipe
from fedcompress.recipes.recipe import Recipe
from fedcompress.recipes.runner import Session
from fedcompress.scenario import Scenario, gallery
from fedcompress.scenario.loading import load_scenario
from fedcompress.scenario.overrides import parse_assignment
from fedcompress.sweep.jobs import variant_of

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [path for path in PAGES if path.parent.name != "results"]  # those are written by a command
NOT_RUN = {
    "README.md": 2,
    "CONTRIBUTING.md": 2,
    "docs/tutorial.md": 2,
    "docs/how-to/cluster.md": 1,
    "docs/how-to/compare.md": 2,
    "docs/how-to/compress-one-model.md": 3,
    "docs/how-to/deployment.md": 2,
    "docs/how-to/propose-masks.md": 2,
    "docs/how-to/generate.md": 1,
    "docs/how-to/search.md": 1,
    "docs/how-to/gpu.md": 1,
    "docs/reference/commands.md": 1,
}
"""Page -> blocks that say so, and why, above themselves; commands of ours in them are parsed all the same."""
UNRUN = "Not run by the tests: "


class Block(NamedTuple):
    """A fenced block: its language, the line that is shown above it, and its text."""

    language: str
    title: str
    text: str

    @property
    def runs(self) -> bool:
        return not self.title.startswith(UNRUN)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path) -> list[Block]:
    fences = re.findall(r'^```(\w+)(?: title="([^"\n]+)")?\n(.*?)^```$', path.read_text(), re.MULTILINE | re.DOTALL)
    return [Block(*fence) for fence in fences]


def commands(block: Block) -> Iterator[tuple[list[str], list[str]]]:
    """Yields (words of a command, lines of output below it) of a console block."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, *output = part.splitlines()
        yield shlex.split(command, comments=True), output


def shape(line: str) -> str:
    """Returns a line of output without what differs between two runs: figures, units, widths and marks."""
    line = re.sub(r"[-+]?\d[\d.,]*\d|\d", "#", line)
    return re.sub(r"[▲▼≈?=]| +", " ", re.sub(r"# (k|M)?B", "# B", re.sub(r"# min\b", "# s", line))).strip(" ")


def check(words: list[str]) -> None:
    """Parses a command of ours, and the scenario and the keys that it names, without running it."""
    name, *arguments = words[1:]
    command = command_line().commands[name]
    if inner := getattr(command, "commands", None):
        name, *arguments = arguments
        command = inner[name]
    values = command.make_context(name, arguments).params
    overrides = dict(map(parse_assignment, values.get("set_") or ()))
    if "scenario" in values:
        load_scenario(values["scenario"], overrides, values["seed"])
    elif name == "compress" and values["recipe"]:
        Recipe.load(gallery.named(Path(values["recipe"]), "recipes"), overrides)
    elif name == "generate":
        GeneratorRecipe.load(gallery.named(Path(values["recipe"]), "generators"), overrides)


def check_toml(text: str) -> None:
    """Checks a scenario or a recipe, with the plug-ins and the data that the page has written by then."""
    table = tomllib.loads(text)
    if "trying" in table:
        assert MaskRecipe.parse(table).sources()
        return
    if "experiments" in table:
        assert Session(Recipe.parse(table)).tasks
        return
    if "teacher" in table:
        assert GeneratorRecipe.parse(table).keys("")
        return
    data = table.get("data", {}).get("dataset", "")
    scenario = Scenario.parse({"name": "page", **table}, {} if data.startswith("npz:") else {"data.dataset": "digits"})
    for _, single in scenario.runs():
        assert Experiment.load(single, Plugins(tuple(filter(Path.is_dir, [Path("mine")])))).clients


@pytest.fixture
def small_gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has scenarios that ship run for a round of a few examples."""
    folder = Path(shutil.copytree(gallery.FOLDER, tmp_path / "scenarios"))
    for path in folder.glob("*.toml"):
        table = tomllib.loads(path.read_text())
        table |= {"rounds": 1, "training": {**table.get("training", {}), "epochs": 1}, "evaluation": {"tflite": False}}
        table["data"] |= {"dataset": "mnist-5k", "examples": 400}
        path.write_text(tomli_w.dumps(table))
    monkeypatch.setattr(gallery, "FOLDER", folder)


@pytest.mark.parametrize("path", [path for path in PAGES if blocks(path)], ids=name_of)
@pytest.mark.usefixtures("small_gallery")
def test_every_block_of_a_page(path: Path, call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """In one folder, in the order of the page: files are written, Python and commands are run."""
    names: dict[str, object] = {}
    for block in blocks(path):
        if block.language == "toml":
            check_toml(block.text)
        if block.language == "python":
            code = compile(block.text, block.title or name_of(path), "exec")
            if not block.title:
                exec(code, names)
        if block.title and block.runs:
            file = tmp_path / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
        for words, expected in commands(block) if block.language == "console" else ():
            if words[0] == "fedcompress":
                check(words)
            if block.runs:
                assert words[0] == "fedcompress"
                code, out, err = call(*words[1:])
                assert code == 0, err
                printed = [shape(line) for line in (err + out).splitlines()]
                assert [line for line in expected if line != "..." and shape(line) not in printed] == []


@pytest.fixture(autouse=True)
def users_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plug-ins of a page are found as package.module:Class, as from the user's folder; tables are 80 columns wide."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_blocks_say_what_they_are(path: Path) -> None:
    fences = re.findall(r"^ *```.*$", path.read_text(), re.MULTILINE)
    assert len(fences) == 2 * len(blocks(path))
    for block in blocks(path):
        assert block.language in ("python", "toml", "console", "sh", "text")
        assert block.language != "sh" or not block.runs
        assert block.runs or len(block.title) > len(UNRUN) + 10


def test_what_is_not_run_is_counted() -> None:
    counts = {name_of(path): sum(not block.runs for block in blocks(path)) for path in PAGES}
    assert {name: count for name, count in counts.items() if count} == NOT_RUN


def test_a_sweep_needs_run_all() -> None:
    """Of the call that is not run: that its name and its keys are known."""
    with pytest.raises(InputError, match=r"iid-vs-noniid.*is a sweep of"):
        fedcompress.run("iid-vs-noniid", rounds=2)


def test_the_recipe_and_the_methods_are_right() -> None:
    page = ROOT / "docs" / "how-to" / "compress-one-model.md"
    (recipe,) = (block for block in blocks(page) if block.language == "toml")
    assert len(Session(Recipe.parse(tomllib.loads(recipe.text))).tasks) == 3 * 4
    assert [n for n in Plugins().names("methods") if n != "plain" and f"`{n}`" not in page.read_text()] == []


GALLERY = (ROOT / "docs" / "reference" / "gallery.md").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios" / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_right_and_say_what_to_expect(path: Path) -> None:
    header = path.read_text().split("name =")[0]
    assert re.search(r"# Expect: .*\d", header)
    assert re.search(r"# Takes: .*\d", header)
    assert f"# Run: fedcompress compress {path.stem}" in header
    assert f"`{path.stem}`" in GALLERY
    assert Session(Recipe.load(path)).tasks


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios" / "generators").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_generators_are_right_and_say_what_to_expect(path: Path) -> None:
    header = path.read_text().split("name =")[0]
    assert re.search(r"# Expect: .*\d", header)
    assert re.search(r"# Takes: .*\d", header)
    assert f"# Run: fedcompress generate {path.stem}" in header
    assert f"`{path.stem}`" in GALLERY
    assert GeneratorRecipe.load(path).keys("")


@pytest.fixture
def proposer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proposer where that of `fedcompress masks train quick` would be: it has not learned anything."""
    weights, head = (
        {n: np.zeros(shape, np.float32) for n, shape in part.items()} for part in (shapes(), head_shapes())
    )
    made = Proposer(weights, head, np.zeros(len(FEATURES)), np.ones(len(FEATURES)), {})
    (tmp_path / "quick.npz").write_bytes(made.written())
    monkeypatch.setattr(proposing, "cached_file", lambda name: tmp_path / f"{name}.npz")


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.toml")), ids=lambda path: path.stem)
@pytest.mark.usefixtures("proposer")
def test_shipped_scenarios_are_right_and_say_what_to_expect(path: Path) -> None:
    header = path.read_text().split("name =")[0]
    assert re.search(r"# Expect: .*\d", header)
    assert re.search(r"# Takes: .*\d", header)
    assert re.search(rf"# Run: (fedcompress run scenarios/{path.name}|flwr run)", header)
    assert f"`{path.stem}`" in GALLERY
    of_variants = {
        variant_of(label): single for label, single in Scenario.load(path, {"data.dataset": "mnist-5k"}).runs()
    }
    for single in of_variants.values():
        assert Experiment.load(single, Plugins()).clients


@pytest.mark.usefixtures("proposer")
def test_channel_masks_differ_in_what_chooses_them_alone() -> None:
    """Each tier's mask is chosen in round 4 for its whole sparsity, and stays, in every variant."""
    runs = Scenario.load(ROOT / "scenarios" / "channel-masks.toml", {"data.dataset": "mnist-5k"}).runs()
    scores = []
    for _, single in runs:
        compressions = [group.compression for group in Experiment.load(single, Plugins()).groups.values()]
        scores.append({made.params.score for made in compressions})
        assert [[made.target(number) for number in (3, 4, 15)] for made in compressions] == [
            [0.0, sparsity, sparsity] for sparsity in (0.5, 0.8, 0.9)
        ]
        assert all(made.frozen(4) and made.params.count == "channels" for made in compressions)
    assert scores == [{"l1"}] * 3 + [{"lamp"}] * 3 + [{"gan"}] * 3


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 10_000
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
        assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


@pytest.fixture(scope="module")
def generated() -> ModuleType:
    path = ROOT / "docs" / "_generated.py"
    spec = importlib.util.spec_from_file_location("generated_reference", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_generated_part_is_on_a_page(generated: ModuleType) -> None:
    markers = [marker for path in PAGES for marker in generated.MARKER.findall(path.read_text())]
    assert sorted(markers) == sorted(generated.GENERATED)


def test_the_reference_is_made_from_the_code(generated: ModuleType) -> None:
    page = "\n\n".join(generated.on_page_markdown(f"<!-- generated: {name} -->") for name in generated.GENERATED)
    assert "| `rounds` | integer ≥ 1 | `10` | federated rounds |" in page
    assert "| `sparsity` | number ≥ 0, < 1 | `0.0` | fraction of zeros that the compression aims at |" in page
    assert '| `optimizer` | `adam`, `sgd`, `momentum` | `"adam"` | its state starts anew in each round |' in page
    assert "| `mu` | number ≥ 0 | `0.01` | strength of the proximal term (mu / 2) \\|\\|w - w_global\\|\\|^2 |" in page
    assert "| `--fail-if EXPRESSION` | End with code 3 if it holds: 'deployed_accuracy < baseline'. |" in page
    assert "## `[[sweep.variants]]` { #sweep-variants }" in page
    for folder in ("strategies", "clients", "models", "datasets", "compression", "methods"):
        for name in Plugins().names(folder):
            assert f"### `{name}` {{ #{folder}-{name} }}" in page


def test_everything_in_the_reference_has_a_meaning(generated: ModuleType) -> None:
    for make in generated.GENERATED.values():
        assert [line for line in make().splitlines() if re.search(r"\| +\|$", line)] == []


@pytest.mark.parametrize(
    "path",
    [
        *("client:ClientStrategy", "client:Result", "client:action", "strategy:ServerStrategy", "strategy:State"),
        *("federation:Federation", "compression.base:Params", "compression.base:Compression", "scenario:Scenario"),
        *("errors:InputError", "wire.content:Payload", "wire.content:Content", "wire.content:weights_content"),
        *("models.architecture:Architecture", "data.dataset:Dataset", "data.dataset:DatasetSource"),
        *("recipes.method:Method", "recipes.method:Outcome", "training.objectives:Objective"),
        *("data.partition:Partition", "wire.value_type:ValueType"),
    ],
)
def test_what_plug_ins_import_is_where_it_was(path: str) -> None:
    module, _, name = path.partition(":")
    assert hasattr(importlib.import_module(f"fedcompress.{module}"), name)
