"""Plug-ins: one file each in a folder, `package.module:Class`, or an installed package's entry point."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clients
import strategies
from clients.sgd import SGD
from fedcompress.checks import resolved
from fedcompress.client import ClientStrategy
from fedcompress.compression.kinds.magnitude import Magnitude
from fedcompress.data.datasets.digits import Digits
from fedcompress.errors import InputError
from fedcompress.launch import resume_one, run_one
from fedcompress.models.architecture import Architecture
from fedcompress.models.architectures.mini_cnn import MiniCNN
from fedcompress.models.architectures.mlp import MLP
from fedcompress.options import Options
from fedcompress.plugins import KINDS, Plugins, sources
from fedcompress.plugins import finding as module
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.recorder import Observer
from fedcompress.scenario import Scenario
from federating import BY_WRITER, PLUGINS, experiment
from strategies.fedavg import FedAvg

ROOT = Path(clients.__file__).parents[1]
CLIENT = """
from clients.sgd import SGD
from fedcompress.client import Result, action

class Counted(SGD):
    @action
    def train(self, payload, round_number):
        result = super().train(payload, round_number)
        return Result(result.payload, {**result.metrics, "train_loss": 40.0 + round_number})
"""
STRATEGY = """
from strategies.fedavg import FedAvg

class First(FedAvg):
    def aggregate(self, model, replies, old):
        return super().aggregate(model, replies[:1], old)
"""
MODEL = """
from fedcompress import keras
from fedcompress.models.architecture import Architecture

class Flat(Architecture):
    def features(self, inputs):
        return keras.layers.Flatten()(inputs)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A `--plugins` folder with a client strategy, a server strategy and a model."""
    files = {"clients/counted.py": CLIENT, "strategies/first.py": STRATEGY, "models/flat.py": MODEL}
    for name, text in files.items():
        write(tmp_path / "mine" / name, text)
    return tmp_path / "mine"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(found: Plugins, kind: str, name: str) -> str:
    with pytest.raises(InputError) as caught:
        found.load(kind, name)
    (problem,) = caught.value.problems
    assert "\n" not in problem
    return problem


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("strategies", ["centralized", "fedavg", "flower", "local"]),
        ("clients", ["fedprox", "sgd"]),
        (
            "models",
            [
                "big-cnn",
                "lenet5",
                "medium-cnn",
                "mini-cnn",
                "mlp",
                "mobilenet-v2",
                "resnet-18",
                "resnet-20",
                "resnet-8",
                "small-cnn",
            ],
        ),
        (
            "datasets",
            [
                "cifar10",
                "cifar100",
                "cifar100-coarse",
                "digits",
                "fashion-mnist",
                "femnist",
                "mnist",
                "mnist-5k",
                "npz",
                "hf",
            ],
        ),
        ("partitions", ["dirichlet", "feature", "iid", "natural", "pathological", "quantity", "shard"]),
        ("compression", ["magnitude", "none"]),
    ],
)
def test_the_modules_that_ship_are_the_names(kind: str, expected: list[str]) -> None:
    names = Plugins().names(kind)
    assert set(expected) <= set(names)
    assert names == sorted(set(names))


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_that_ships_loads(kind: str) -> None:
    """So no module of a plug-in package is taken for a plug-in that is none."""
    found = Plugins()
    interface = module._attribute(KINDS[kind].interface)
    loaded = [found.load(kind, name) for name in found.names(kind)]
    assert all(issubclass(item, interface) for item in loaded)
    assert len(set(loaded)) == len(loaded)


def test_names_are_found_without_importing_a_plug_in(folder: Path) -> None:
    write(folder / "models" / "broken.py", "raise RuntimeError('imported')")
    code = (
        "import sys; from pathlib import Path; from fedcompress.plugins import KINDS, Plugins\n"
        f"found = Plugins((Path({str(folder)!r}),))\n"
        "names = {kind: found.names(kind) for kind in KINDS}\n"
        "assert found.check('models', 'broken') is None\n"
        "assert {'counted', 'first', 'flat', 'broken'} <= set(sum(names.values(), []))\n"
        "print(*[m for m in ('tensorflow', 'flwr', 'numpy', 'clients.sgd', 'strategies.fedavg') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("kind", "name", "base", "class_name"),
    [
        ("clients", "counted", SGD, "Counted"),
        ("strategies", "first", FedAvg, "First"),
        ("models", "flat", Architecture, "Flat"),
    ],
)
def test_one_file_is_one_plug_in(folder: Path, kind: str, name: str, base: type[Any], class_name: str) -> None:
    found = Plugins((folder,))
    loaded = found.load(kind, name)
    assert (loaded.__name__, loaded.__mro__[1]) == (class_name, base)
    assert found.load(kind, name) is loaded
    assert name in found.names(kind)
    assert name not in Plugins().names(kind)


def test_a_folder_called_clients_does_not_shadow_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even from inside the folder, and with a file there that is called as one of ours."""
    write(folder / "clients" / "sgd.py", "from clients.sgd import SGD\nclass Mine(SGD):\n    mine = True\n")
    monkeypatch.chdir(folder)
    found = Plugins((Path(),))
    mine = found.load("clients", "sgd")
    assert (mine.__name__, mine.__mro__[1]) == ("Mine", SGD)
    assert sys.modules["clients"] is clients
    assert sys.modules["strategies"] is strategies
    assert Path(sys.modules["clients.sgd"].__file__ or "").parent == ROOT / "clients"
    assert Plugins().load("clients", "sgd") is SGD


def test_the_first_folder_wins_then_ours(folder: Path, tmp_path: Path) -> None:
    second = write(tmp_path / "second" / "models" / "flat.py", MODEL.replace("Flat", "Other")).parents[1]
    assert Plugins((second, folder)).load("models", "flat").__name__ == "Other"
    assert Plugins((folder, second)).load("models", "flat").__name__ == "Flat"
    assert Plugins((folder, second)).load("models", "mini-cnn") is MiniCNN


def test_files_of_one_name_in_two_kinds_are_two_plug_ins(folder: Path) -> None:
    write(folder / "clients" / "first.py", CLIENT)
    found = Plugins((folder,))
    assert found.load("clients", "first").__name__ == "Counted"
    assert found.load("strategies", "first").__name__ == "First"


@pytest.mark.parametrize("file", ["two-words.py", "two_words.py"])
def test_dashes_and_underscores_in_a_file_are_dashes_in_a_name(folder: Path, file: str) -> None:
    write(folder / "models" / file, MODEL)
    found = Plugins((folder,))
    assert "two-words" in found.names("models")
    assert found.load("models", "two-words").__name__ == "Flat"


def test_what_starts_with_an_underscore_is_no_plug_in(folder: Path) -> None:
    write(folder / "models" / "_shared.py", MODEL)
    assert [name for name in Plugins((folder,)).names("models") if "shared" in name] == []


def test_a_class_by_its_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "outside_package" / "__init__.py", "")
    write(folder / "outside_package" / "inner.py", MODEL + "\nclass Second(Flat): pass\n")
    monkeypatch.syspath_prepend(folder)
    found = Plugins()
    assert found.check("models", "outside_package.inner:Second") is None
    assert found.load("models", "outside_package.inner:Second").__name__ == "Second"
    assert found.load("clients", "clients.sgd:SGD") is SGD
    assert found.load("datasets", "fedcompress.data.datasets.digits:Digits") is Digits


def test_an_entry_point_of_an_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed plug-ins come last: they cannot take the name of one that ships."""
    points = {
        "fedcompress.compression": [EntryPoint("rented", "fedcompress.compression.kinds.magnitude:Magnitude", "x")],
        "fedcompress.models": [EntryPoint("mlp", "fedcompress.models.architectures.mini_cnn:MiniCNN", "x")],
        "fedcompress.clients": [EntryPoint("wrong", "strategies.fedavg:FedAvg", "x")],
    }
    monkeypatch.setattr(module, "entry_points", lambda *, group: points.get(group, []))
    found = Plugins()
    assert {"magnitude", "none", "rented"} <= set(found.names("compression"))
    assert found.load("compression", "rented") is Magnitude
    assert found.load("models", "mlp").__name__ == "MLP"
    assert refusal(found, "clients", "wrong") == (
        "client strategy 'wrong': received <class 'strategies.fedavg.FedAvg'>, "
        "expected a subclass of fedcompress.client:ClientStrategy."
    )


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("clients", "sdg", "unknown client strategy 'sdg'. Did you mean 'sgd'?"),
        ("strategies", "fedagv", "unknown server strategy 'fedagv'. Did you mean 'fedavg'?"),
        ("models", "flatt", "unknown model 'flatt'. Did you mean 'flat'?"),
        ("datasets", "digit", "unknown data set 'digit'. Did you mean 'digits'?"),
        ("compression", "zzz", f"unknown compression 'zzz'. Known: {', '.join(Plugins().names('compression'))}."),
        (
            "clients",
            "clients.sgd:SDG",
            "client strategy 'clients.sgd:SDG': cannot be loaded: AttributeError: module 'clients.sgd' has no "
            "attribute 'SDG'. Expected package.module:Class.",
        ),
        (
            "clients",
            "no_such_package.a:B",
            "client strategy 'no_such_package.a:B': cannot be loaded: ModuleNotFoundError: No module named "
            "'no_such_package'. Expected package.module:Class.",
        ),
        (
            "models",
            "strategies.fedavg:FedAvg",
            "model 'strategies.fedavg:FedAvg': received <class 'strategies.fedavg.FedAvg'>, expected a subclass of "
            "fedcompress.models.architecture:Architecture.",
        ),
        (
            "models",
            "fedcompress.plugins:KINDS",
            "expected a subclass of fedcompress.models.architecture:Architecture.",
        ),
    ],
)
def test_names_that_stand_for_nothing(folder: Path, kind: str, name: str, message: str) -> None:
    found = Plugins((folder,))
    problem = refusal(found, kind, name)
    assert problem.endswith(message)
    if ":" not in name:
        assert found.check(kind, name) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_package", "does not import: ModuleNotFoundError: No module named 'no_such_package'."),
        ("def broken(:", "does not import: SyntaxError: invalid syntax (bad.py, line 1)."),
        ("1 / 0", "does not import: ZeroDivisionError: division by zero."),
        ("import sys; sys.exit(0)", "does not import: SystemExit: 0."),
        ("raise ValueError('\\ud800\\n' + 5000 * 'x')", "x ... (3,014 more characters)."),
        ("", "expected one subclass of fedcompress.client:ClientStrategy, found none."),
        ("from clients.sgd import SGD", "expected one subclass of fedcompress.client:ClientStrategy, found none."),
        (STRATEGY, "expected one subclass of fedcompress.client:ClientStrategy, found none."),
        (
            "from fedcompress.client import ClientStrategy as Base\nfrom abc import ABC, abstractmethod\n"
            "class Half(Base, ABC):\n    @abstractmethod\n    def train(self): ...",
            "expected one subclass of fedcompress.client:ClientStrategy, found Half without train.",
        ),
        (CLIENT + "class Again(Counted): pass", "fedcompress.client:ClientStrategy, found Counted, Again."),
    ],
    ids=["import", "syntax", "raises", "exits", "long", "empty", "imported", "wrong-interface", "abstract", "two"],
)
def test_files_that_are_no_plug_in(folder: Path, text: str, message: str) -> None:
    path = write(folder / "clients" / "bad.py", text)
    before = set(sys.modules)
    problem = refusal(Plugins((folder,)), "clients", "bad")
    assert str(path) in problem
    assert problem.endswith(message)
    left = {name for name in set(sys.modules) - before if name.endswith("_bad")}
    assert len(left) == (1 if "expected one subclass" in problem else 0)


@pytest.mark.parametrize(
    ("file", "method", "message"),
    [
        ("strategies/odd.py", "def problems(self):", "server strategy 'odd': cannot be prepared: SystemExit: 0."),
        ("strategies/odd.py", "def __init__(self, params, **given):", "server strategy 'odd': cannot be prepared: "),
        (
            "clients/odd.py",
            "@classmethod\n    def contents(cls, model):",
            "groups.dense.client: client strategy 'odd': ",
        ),
        ("models/odd.py", "def __init__(self, argument=''):", "model 'odd': cannot be prepared: SystemExit: 0."),
        ("models/odd.py", "def features(self, inputs):", "model 'odd': cannot be prepared: SystemExit: 0."),
        ("datasets/odd.py", "def load(self, roots):", "data set 'odd': cannot be prepared: SystemExit: 0."),
        (
            "compression/odd.py",
            "def __init__(self, params, **given):",
            "scenario 'tiny': a plug-in ended with SystemExit: 0.",
        ),
    ],
)
def test_a_plug_in_that_exits_before_the_run_is_bad_input(
    call: Callable[..., Any], tiny_file: Path, folder: Path, file: str, method: str, message: str
) -> None:
    base, key = {
        "strategies": ("strategies.fedavg import FedAvg", "server.strategy"),
        "clients": ("clients.sgd import SGD", "groups.dense.client"),
        "models": ("fedcompress.models.architectures.mini_cnn import MiniCNN", "groups.dense.model"),
        "datasets": ("fedcompress.data.datasets.digits import Digits", "data.dataset"),
        "compression": ("fedcompress.compression.kinds.magnitude import Magnitude", "groups.dense.compression"),
    }[file.partition("/")[0]]
    text = f"import sys\nfrom {base} as Base\nclass Odd(Base):\n    {method}\n        sys.exit(0)\n"
    write(folder / file, text)
    done = call("run", tiny_file, "--plugins", folder, "--set", f"{key}=odd", "--out", "out")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {message}")
    assert done.err.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        ("ValueError", "model 'odd' does not fit 'digits', whose examples are 8x8x1: ValueError"),
        ("KeyError('a')", "model 'odd': cannot be prepared: KeyError: 'a'. Raised at odd.py:4."),
        (
            "AttributeError('no attribute')",
            "model 'odd': cannot be prepared: AttributeError: no attribute. Raised at odd.py:4.",
        ),
    ],
)
def test_a_model_that_cannot_be_built_is_bad_input(
    call: Callable[..., Any], tiny_file: Path, folder: Path, raised: str, message: str
) -> None:
    text = "from fedcompress.models.architectures.mini_cnn import MiniCNN\n"
    text += "class Odd(MiniCNN):\n    def features(self, inputs):\n"
    write(folder / "models" / "odd.py", f"{text}        raise {raised}\n")
    done = call("run", tiny_file, "--plugins", folder, "--set", "groups.dense.model=odd", "--out", "out")
    assert (done.code, done.out, done.err) == (2, "", f"error: {message}\n")
    assert not Path("out").exists()


def test_only_files_of_a_folder_are_plug_ins(folder: Path) -> None:
    """An editor's lock, a link that leads nowhere, is called like the file; so may be a folder, or a pipe."""
    before = Plugins((folder,)).digest
    (folder / "clients" / ".#counted.py").symlink_to("user@host.1234")
    (folder / "clients" / "package.py").mkdir()
    os.mkfifo(folder / "clients" / "pipe.py")
    found = Plugins((folder,))
    assert (found.digest, found.check("clients", "counted")) == (before, None)
    assert not {"package", "pipe"} & set(found.names("clients"))


def test_an_abstract_base_beside_the_class_is_not_counted(folder: Path) -> None:
    base = "from abc import abstractmethod\nfrom strategies.fedavg import FedAvg\n"
    base += "class Base(FedAvg):\n    @abstractmethod\n    def score(self): ...\n"
    write(folder / "strategies" / "scored.py", base + "class Scored(Base):\n    def score(self): return 1\n")
    assert Plugins((folder,)).load("strategies", "scored").__name__ == "Scored"


def test_folders_have_to_hold_plug_ins(tmp_path: Path, folder: Path) -> None:
    for bad in (tmp_path / "absent", tmp_path, folder / "clients", folder / "clients" / "counted.py"):
        with pytest.raises(InputError) as caught:
            Plugins((folder, bad))
        assert str(caught.value) == (
            f"--plugins {bad}: expected a folder that holds at least one of strategies/, clients/, models/, datasets/, "
            "compression/, methods/, partitions/, values/."
        )


@pytest.mark.parametrize(
    ("name", "expected"), [("client", "clients"), ("strategy", "strategies"), ("data_sets", "datasets")]
)
def test_a_folder_of_nearly_the_right_name_is_not_passed_over(tmp_path: Path, name: str, expected: str) -> None:
    """Folders of other things may be beside plug-ins: of other names, without code, or beside the right one."""
    write(tmp_path / "models" / "mine.py", "")
    for other in ("modules", "data", "tests"):
        write(tmp_path / other / "mine.py", "")
    write(tmp_path / name / "README.md", "")
    Plugins((tmp_path,))
    write(tmp_path / name / "mine.py", "")
    with pytest.raises(InputError) as caught:
        Plugins((tmp_path,))
    assert str(caught.value) == (
        f"--plugins {tmp_path}: {name}/ is the folder of no kind of plug-in; rename it to {expected}/."
    )
    (tmp_path / expected).mkdir()
    Plugins((tmp_path,))


def test_the_digest_follows_every_file(folder: Path, tmp_path: Path) -> None:
    def digest() -> str:
        return Plugins((folder,)).digest

    assert Plugins().digest == ""
    before = digest()
    assert len(before) == 64
    assert digest() == before
    (folder / "clients" / "README").write_text("not code")
    assert digest() == before
    seen = {before}
    write(folder / "clients" / "counted.py", CLIENT + "# changed\n")
    seen.add(digest())
    (folder / "models" / "flat.py").rename(folder / "models" / "renamed.py")
    seen.add(digest())
    write(folder / "helpers" / "shared.py", "x = 1")
    seen.add(digest())
    assert len(seen) == 4
    write(folder / "clients" / "counted.py", CLIENT)
    (folder / "models" / "renamed.py").rename(folder / "models" / "flat.py")
    (folder / "helpers" / "shared.py").unlink()
    assert digest() == before
    copy = tmp_path / "elsewhere"
    folder.rename(copy)
    assert Plugins((copy,)).digest == before


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path with a package, a module, and helpers beside them."""
    stem = f"p{sha256(str(tmp_path).encode()).hexdigest()[:10]}"  # each test's own: modules stay imported
    root = tmp_path / "project"
    write(root / f"{stem}_package" / "__init__.py", "")
    write(root / f"{stem}_package" / "inner" / "counted.py", CLIENT)
    write(root / f"{stem}_package" / "inner" / "rates.py", "RATE = 1")
    write(root / f"{stem}_namespace" / "counted.py", CLIENT)
    write(
        root / f"{stem}_single.py", f"def late():\n    import {stem}_shared.deep\nfrom {stem}_helper import X\n{CLIENT}"
    )
    write(root / f"{stem}_helper.py", "X = 1")
    write(root / f"{stem}_shared" / "deep.py", "Y = 1")
    write(root / f"{stem}_unrelated.py", "Z = 1")
    monkeypatch.syspath_prepend(root)
    return root / stem


COVERED = {
    "package.inner.counted": (
        ["package/inner/counted.py", "package/inner/rates.py", "package/__init__.py"],
        ["single.py", "helper.py", "unrelated.py"],
    ),
    "namespace.counted": (["namespace/counted.py"], ["package/__init__.py", "unrelated.py"]),
    "single": (["single.py", "helper.py", "shared/deep.py"], ["unrelated.py", "package/inner/counted.py"]),
}


@pytest.mark.parametrize("entry_point", [False, True])
@pytest.mark.parametrize("name", COVERED)
def test_the_digest_covers_importable_plug_ins_and_what_they_import_beside_them(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, entry_point: bool
) -> None:
    path = f"{project.name}_{name}:Counted"
    points = [EntryPoint("rented", path, "x")]
    monkeypatch.setattr(module, "entry_points", lambda *, group: points if group == "fedcompress.clients" else [])

    def digest() -> str:
        found = Plugins()
        assert found.digest == ""
        found.load("clients", "rented" if entry_point else path)
        return found.digest

    before = digest()
    assert len(before) == 64
    assert digest() == before
    seen = {before}
    covered, others = COVERED[name]
    for file in covered:
        with (project.parent / f"{project.name}_{file}").open("a") as text:
            text.write("\n# changed\n")
        seen.add(digest())
    assert len(seen) == 1 + len(covered)
    last = digest()
    for file in others:
        with (project.parent / f"{project.name}_{file}").open("a") as text:
            text.write("\n# changed\n")
    assert digest() == last


def test_what_ships_and_what_is_installed_beside_a_plug_in_are_not_in_the_digest(project: Path) -> None:
    found = Plugins()
    for kind, name in (("clients", "clients.sgd:SGD"), ("datasets", "fedcompress.data.datasets.digits:Digits")):
        found.load(kind, name)
    assert found.digest == ""
    files = sources.sources(["pydantic"])
    assert "pydantic/main.py" in files
    assert {name.partition("/")[0] for name in files} == {"pydantic"}


def test_the_digest_of_folders_is_what_it_was(folder: Path) -> None:
    expected = sha256()
    for path in sorted(folder.rglob("*.py")):
        expected.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    assert Plugins((folder,)).digest == expected.hexdigest()


@pytest.mark.parametrize("edited", ["package/inner/counted.py", "package/inner/rates.py"])
def test_an_edited_importable_plug_in_is_not_resumed(
    tiny: dict[str, Any], project: Path, tmp_path: Path, edited: str
) -> None:
    class Breaks(Observer):
        def round_done(self, row: dict[str, Any]) -> None:
            raise KeyboardInterrupt

    client = f"{project.name}_package.inner.counted:Counted"
    made = Scenario.parse({**tiny, "groups": [{"model": "mini-cnn", "client": client}]})
    with pytest.raises(KeyboardInterrupt):
        run_one(made, tmp_path / "run", observer=Breaks())
    file = project.parent / f"{project.name}_{edited}"
    text = file.read_text()
    file.write_text(text + "# changed\n")
    with pytest.raises(InputError, match="the plug-ins changed since the run began; start a new run"):
        resume_one(tmp_path / "run")
    file.write_text(text)
    assert resume_one(tmp_path / "run", report=False)["status"] == "completed"


def test_a_run_with_a_client_a_strategy_and_a_model_of_ones_own(
    call: Callable[..., Any], tiny_file: Path, folder: Path, tmp_path: Path
) -> None:
    """`flat` on 8 x 8 pixels is one layer of 64 x 10 weights and 10 biases; `counted` reports 40 + round as its loss;
    `first` leaves all replies but one out, so its model is not that of `fedavg`."""
    chosen = ["client=counted", "model=flat", "compression=none", "sparsity=0"]
    words = [word for group in ("dense", "pruned") for c in chosen for word in ("--set", f"groups.{group}.{c}")]
    digests = set()
    for strategy in ("first", "fedavg"):
        words += ["--set", f"server.strategy={strategy}"]
        done = call("run", tiny_file, "--plugins", folder, "--out", tmp_path / strategy, "--json", *words)
        assert done.code == 0, done.err
        summary, directory = json.loads(done.out), RunDirectory(tmp_path / strategy)
        assert {group["parameters"] for group in summary["groups"].values()} == {64 * 10 + 10}
        assert [row["train_loss"] for row in directory.rows("clients")] == [41.0] * 3 + [42.0] * 3
        assert directory.read_json("provenance.json")["plugins_digest"] == Plugins((folder,)).digest
        digests.add(summary["model_digest"])
    assert len(digests) == 2


def test_a_run_with_all_three_by_their_paths(
    call: Callable[..., Any], tiny_file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "clients" / "counted.py").rename(folder / "my_counted.py")
    (folder / "strategies" / "first.py").rename(folder / "my_first.py")
    (folder / "models" / "flat.py").rename(folder / "my_flat.py")
    monkeypatch.syspath_prepend(folder)
    chosen = ["server.strategy=my_first:First", "groups.dense.client=my_counted:Counted", "rounds=1"]
    chosen += ["groups.dense.model=my_flat:Flat", "groups.pruned.model=my_flat:Flat"]
    done = call("run", tiny_file, "--json", "--out", "out", *(word for c in chosen for word in ("--set", c)))
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert {name: group["parameters"] for name, group in summary["groups"].items()} == {"dense": 650, "pruned": 650}


def test_the_interface_itself_is_no_plug_in(folder: Path) -> None:
    write(folder / "clients" / "base_only.py", "from fedcompress.client import ClientStrategy")
    assert "found none" in refusal(Plugins((folder,)), "clients", "base-only")
    assert ClientStrategy.actions() == frozenset({"deploy"})


def test_modules_are_imported_where_their_folder_is_not(folder: Path, tmp_path: Path) -> None:
    here = Plugins((folder,))
    contents = dict(here.modules)
    folder.rename(tmp_path / "elsewhere")
    there = Plugins(tuple(contents), contents)
    assert there.digest == here.digest
    kind = there.load("clients", "counted")
    assert (kind.__name__, kind.__mro__[1]) == ("Counted", SGD)
    assert "class Counted(SGD)" in inspect.getsource(kind)
    assert "counted" in there.names("clients")


def test_an_import_leaves_the_folder_as_it_is(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    Plugins((folder,)).load("clients", "counted")
    assert sorted(folder.rglob("*")) == before


def test_what_runs_is_what_the_digest_is_of(folder: Path) -> None:
    found = Plugins((folder,))
    digest = found.digest
    (folder / "clients" / "counted.py").write_text("raise RuntimeError('edited in the meantime')")
    assert found.load("clients", "counted").__name__ == "Counted"
    assert Plugins((folder,)).digest != digest


def test_a_partition_of_ones_own(tmp_path: Path) -> None:
    """24 people, 3 at each of 4 clients; of 1,438 digits everyone has 59 or 60, of which 5 % are the server's."""
    made = experiment(BY_WRITER, data__examples=1438)
    writers = [
        set(np.asarray(made.data.dataset.client_ids)[np.concatenate(parts)])
        for parts in zip(made.data.train_parts, made.data.validation_parts, strict=True)
    ]
    assert [len(people) for people in writers] == [3] * 4
    assert len(set.union(*writers)) == 12
    assert made.scenario.data.partition_params == {"writers": 3}
    assert made.data.digest == experiment(BY_WRITER, data__examples=1438).data.digest
    assert made.data.digest != experiment(BY_WRITER, data__examples=1438, data__partition_params__writers=2).data.digest
    default = experiment(BY_WRITER, data__partition_params={})
    assert default.scenario.data.partition_params == {"writers": 1}


def test_a_partition_by_its_path() -> None:
    data = experiment(data__partition="fedcompress.data.partitions.dirichlet:Dirichlet").data
    assert data.digest == experiment(data__partition="dirichlet").data.digest
    with pytest.raises(
        InputError, match=r"^partition 'clients.sgd:SGD': received .*, expected a subclass of fedcompress"
    ):
        experiment(data__partition="clients.sgd:SGD")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"data.partition": "by-witer"}, "data.partition: unknown partition 'by-witer'. Did you mean 'by-writer'?"),
        (
            {"data.partition_params.writers": 0},
            "data.partition_params.writers: received 0; input should be greater than or equal to 1.",
        ),
        (
            {"data.partition_params.writer": 2},
            "data.partition_params.writer: unknown parameter. Did you mean 'writers'?",
        ),
        ({"data.balanced": True}, 'data.balanced: is for partition = "dirichlet", but data.partition is "by-writer".'),
        (
            {"data.classes": [0, 1], "data.partition": "by-writer"},
            "data.classes: leave it out; with some labels alone, a person may have no example.",
        ),
        (
            {"data.dataset": "digits"},
            'data.partition: "by-writer" needs a data set that says whose each example is.',
        ),
        (
            {"data.partition_params.writers": 10},
            "partition 'by-writer': client 3: received 0 examples, expected at least 2 (data.minimum).",
        ),
    ],
)
def test_what_is_wrong_with_a_partition_of_ones_own(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        experiment(BY_WRITER, **{key.replace(".", "__"): value for key, value in changes.items()})
    assert caught.value.problems == [problem]


def test_a_run_with_a_partition_of_ones_own_is_listed_shown_and_resumed(
    call: Callable[..., Any], tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edited partition is another plug-in, so that a run does not go on with it."""

    class Breaks(Observer):
        def round_done(self, row: dict[str, Any]) -> None:
            raise KeyboardInterrupt

    folder = tmp_path / "mine"
    for file in ("partitions/by-writer.py", "datasets/signed.py"):
        write(folder / file, (PLUGINS / file).read_text(encoding="utf-8"))
    made = Scenario.parse({**tiny, **BY_WRITER, "evaluation": {"tflite": False}})
    (tmp_path / "made.toml").write_text(made.toml(), encoding="utf-8")
    assert call("list", "partitions", "--names", "--plugins", folder).out.split() == [
        *("by-writer", "dirichlet", "feature", "iid", "natural", "pathological", "quantity", "shard")
    ]
    done = call("show", tmp_path / "made.toml", "--plugins", folder, "--plot", "plot.html")
    assert (done.code, "[data.partition_params]\nwriters = 3" in done.out, Path("plot.html").exists()) == (
        0,
        True,
        True,
    )
    options = Options(plugins=(folder,))
    whole = run_one(made, tmp_path / "whole", options)
    with pytest.raises(KeyboardInterrupt):
        run_one(made, tmp_path / "run", options, observer=Breaks())
    file = folder / "partitions" / "by-writer.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text + "# changed\n", encoding="utf-8")
    with pytest.raises(InputError, match="the plug-ins changed since the run began; start a new run"):
        resume_one(tmp_path / "run")
    file.write_text(text, encoding="utf-8")
    assert resume_one(tmp_path / "run", report=False)["model_digest"] == whole["model_digest"]


@pytest.mark.parametrize(
    ("kind", "base", "key", "says"),
    [
        ("strategies", "strategies.fedavg:FedAvg", "server.strategy", "odd"),
        ("clients", "clients.sgd:SGD", "groups.all.client", "odd all"),
        ("models", "fedcompress.models.architectures.mlp:MLP", "groups.all.model", "odd:9"),
        ("compression", "fedcompress.compression.kinds.magnitude:Magnitude", "groups.all.compression", "odd all"),
        ("datasets", "fedcompress.data.datasets.npz:Npz", "data.dataset", "odd:9"),
        ("partitions", "fedcompress.data.partitions.iid:Iid", "data.partition", "odd"),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_every_kind_states_its_own_problems(
    tmp_path: Path, kind: str, base: str, key: str, says: str, fails: bool
) -> None:
    """Before any data is read, in one way: `odd:9` is a file that is not there, and nobody looks for it."""
    module, _, name = base.partition(":")
    decorator = "@classmethod\n    " if kind in ("strategies", "clients") else ""
    body = "1 / 0" if fails else "yield ' '.join([use.name, *([use.group.settings.name] if use.group else [])])"
    text = (
        f"from {module} import {name}\nclass Odd({name}):\n    {decorator}def problems_in(it, use):\n        {body}\n"
    )
    write(tmp_path / kind / "odd.py", text)
    made = Scenario.parse({"name": "x", "groups": [{"name": "all"}]}, {key: says.split()[0]})
    with pytest.raises(InputError) as caught:
        resolved(made, Plugins((tmp_path,)))
    failed = f"{KINDS[kind].name} {says.split()[0]!r}: cannot be prepared: ZeroDivisionError: division by zero."
    failed += f" Raised at odd.py:{text.splitlines().index('        1 / 0') + 1}." if fails else ""
    assert caught.value.problems == [failed if fails else says]


def test_a_problem_that_is_one_text_is_one_problem(tmp_path: Path) -> None:
    text = "from fedcompress.data.partitions.iid import Iid\nclass Odd(Iid):\n"
    write(
        tmp_path / "partitions" / "odd.py", f"{text}    def problems_in(self, use): return 'data.clients: too odd.'\n"
    )
    made = Scenario.parse({"name": "x", "groups": [{"name": "all"}]}, {"data.partition": "odd"})
    with pytest.raises(InputError) as caught:
        resolved(made, Plugins((tmp_path,)))
    assert caught.value.problems == ["data.clients: too odd."]


def test_the_same_text_means_the_same_class_everywhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NAME, NAME:ARGUMENT, package.module:Class and package.module:Class:ARGUMENT, of kinds that take an argument."""
    write(folder / "text_models.py", "from fedcompress.models.architectures.mlp import MLP\nclass Mine(MLP): pass\n")
    monkeypatch.syspath_prepend(folder)
    found = Plugins()
    assert found.resolve("models", "mlp") == (MLP, None)
    assert found.resolve("models", "mlp:8-4:0.5") == (MLP, "8-4:0.5")
    mine = found.load("models", "text_models:Mine")
    assert found.resolve("models", "text_models:Mine:8-4:0.5") == (mine, "8-4:0.5")
    assert (found.architecture("text_models:Mine:8-4:0.5").units, found.architecture("mlp:9").units) == ((8, 4), (9,))
    assert found.resolve("datasets", "npz:C:/a:b.npz")[1] == "C:/a:b.npz"
    assert found.resolve("datasets", "fedcompress.data.datasets.npz:Npz:a.npz")[1] == "a.npz"
    for text, problem in (
        ("lenet5:3", "model 'lenet5:3': 'lenet5' takes no argument; write 'lenet5'."),
        ("text_models:Mine:x", "model 'mlp:x': expected the units of its hidden layers"),
        ("mpl:8", "unknown model 'mpl'. Did you mean 'mlp'?"),
        ("mpl", "unknown model 'mpl'. Did you mean 'mlp'?"),
        (
            "no_module:Mine",
            "model 'no_module:Mine': cannot be loaded: ModuleNotFoundError: No module named 'no_module'",
        ),
    ):
        with pytest.raises(InputError) as caught:
            found.architecture(text)
        assert str(caught.value).startswith(problem)


def test_a_suggestion_is_one_that_fits_among_those_that_ship() -> None:
    found = Plugins()
    assert found.shipped("clients", lambda kind: kind.finds_masks) == "lotteryfl"
    assert found.shipped("compression", lambda kind: kind.left_to_client) == "lottery"
    assert found.shipped("compression", lambda kind: len(kind.widths) > 1) == "quantise"
    assert found.shipped("compression", lambda kind: vars(kind).get("suggested", False)) == "magnitude"
    assert found.shipped("partitions", lambda kind: kind.balances) == "dirichlet"
