"""Scenarios: reading, overriding, refusing, writing, and the runs of a sweep."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from fedcompress.errors import InputError
from fedcompress.recipes.recipe import Recipe
from fedcompress.scenario import Scenario, messages
from fedcompress.scenario import sections as module
from fedcompress.scenario.overrides import parse_assignment, read_toml

SHIPPED = sorted((Path(__file__).parents[1] / "scenarios").glob("*.toml"))
TWO_GROUPS: dict[str, Any] = {
    "name": "two",
    "groups": [{"name": "phone", "share": 0.4}, {"name": "watch", "share": 0.6, "params": {"mu": 0.1}}],
}


def problems(table: dict[str, Any], overrides: dict[str, Any] | None = None) -> list[str]:
    """Returns the messages of a table that is refused; each has to be one line."""
    with pytest.raises(InputError) as caught:
        Scenario.parse(table, overrides)
    assert all(problem and "\n" not in problem for problem in caught.value.problems)
    return caught.value.problems


def test_defaults_are_those_of_the_documentation() -> None:
    """A name is all that a scenario has to say; the rest is ten rounds of FedAvg on mnist-5k over ten equal clients."""
    made = Scenario.parse({"name": "plain"})
    assert (made.rounds, made.seed, made.sweep) == (10, 1, None)
    assert (made.data.dataset, made.data.clients, made.data.partition) == ("mnist-5k", 10, "iid")
    assert (made.data.validation, made.data.server_validation, made.data.least(100)) == (0.1, 0.05, 2)
    assert (made.training.epochs, made.training.batch_size, made.training.learning_rate) == (1, 32, 0.001)
    assert (made.wire.weights, made.wire.values, made.wire.deflate, made.wire.contents) == (
        "sparse",
        "float32",
        True,
        {},
    )
    assert (made.server.strategy, made.server.cohort, made.server.minimum_replies) == ("fedavg", 1.0, 1)
    (group,) = made.groups
    assert (group.name, group.share, group.client, group.compression, group.sparsity) == ("all", 1.0, "sgd", "none", 0)


def test_every_key_is_described() -> None:
    """A key without a description is one that nobody can look up; sections and lists describe themselves."""
    sections = [
        module.DataSettings,
        module.TrainingSettings,
        module.ContentWire,
        module.WireSettings,
        module.ServerSettings,
        module.GroupSettings,
        module.EvaluationSettings,
    ]
    missing = [f"{s.__name__}.{k}" for s in sections for k, field in s.model_fields.items() if not field.description]
    assert missing == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenarios_are_valid_and_so_is_every_variant(path: Path) -> None:
    made = Scenario.load(path)
    assert made.name == path.stem
    variants = len(made.sweep.variants) * len(made.sweep.seeds) if made.sweep else 1
    assert len(made.runs()) == variants


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("rounds", 3, lambda s: s.rounds),
        ("data.alpha", 1, lambda s: s.data.alpha),
        ("data.classes", [6, 9], lambda s: list(s.data.classes)),
        ("groups.watch.sparsity", 0.25, lambda s: s.groups[1].sparsity),
        ("groups.watch.params.mu", 0.5, lambda s: s.groups[1].params["mu"]),
        ("groups.phone.params.new", "x", lambda s: s.groups[0].params["new"]),
        ("groups.phone.compression_params.mask", "server", lambda s: s.groups[0].compression_params["mask"]),
        ("server.params.plain", True, lambda s: s.server.params["plain"]),
        ("wire.logits.values", "int8", lambda s: s.wire.contents["logits"].values),
        ("sweep.seeds", [4, 5], lambda s: list(s.sweep.seeds)),
    ],
)
def test_overrides_reach_every_level_and_groups_by_name(key: str, value: Any, found: Any) -> None:
    table = copy.deepcopy(TWO_GROUPS)
    made = Scenario.parse(table, {key: value})
    assert found(made) == value
    assert table == TWO_GROUPS  # what the caller holds is left alone
    rest = Scenario.parse(TWO_GROUPS).model_dump()
    changed = {name for name, part in made.model_dump().items() if part != rest[name]}
    assert changed == {key.split(".")[0]}


def test_later_overrides_see_earlier_ones() -> None:
    made = Scenario.parse({"name": "a"}, {"data": {"clients": 4}, "data.alpha": 0.1})
    assert (made.data.clients, made.data.alpha) == (4, 0.1)


BAD = [
    ("", {}, ["name: is missing."]),
    ("ronds = 3", {}, ["ronds: unknown key. Did you mean 'rounds'?"]),
    ("learning_rate = 1", {}, ["learning_rate: unknown key. Did you mean 'training.learning_rate'?"]),
    ("clients = 4", {}, ["clients: unknown key. Did you mean 'data.clients'?"]),
    ("data.sparsity = 0.5", {}, ["data.sparsity: unknown key. Did you mean 'groups.NAME.sparsity'?"]),
    ("rounds = 0", {}, ["rounds: received 0; input should be greater than or equal to 1."]),
    ("rounds = 3.5", {}, ["rounds: received 3.5; input should be a valid integer."]),
    ("rounds = '3'", {}, ["rounds: received '3'; input should be a valid integer."]),
    ("rounds = true", {}, ["rounds: received True; input should be a valid integer."]),
    ("seed = -1", {}, ["seed: received -1; input should be greater than or equal to 0."]),
    ("data.datset = 'x'", {}, ["data.datset: unknown key. Did you mean 'dataset'?"]),
    ("data.clients = 0", {}, ["data.clients: received 0; input should be greater than or equal to 1."]),
    ("data.alpha = inf", {}, ["data.alpha: received inf; input should be a finite number."]),
    ("data.validation = 1.0", {}, ["data.validation: received 1.0; input should be less than 1."]),
    ("data.classes = [1, '2']", {}, ["data.classes.1: received '2'; input should be a valid integer."]),
    (
        "training.optimizer = 'rmsprop'",
        {},
        ["training.optimizer: unknown value 'rmsprop'. Known: adam, momentum, sgd."],
    ),
    (
        "training.learning_rate = '0.1'",
        {},
        ["training.learning_rate: received '0.1'; input should be a valid number."],
    ),
    ("server.cohort = 1.5", {}, ["server.cohort: received 1.5; input should be less than or equal to 1."]),
    ("server.cohort = 0", {}, ["server.cohort: received 0; input should be greater than 0."]),
    (
        "wire.value = 'int8'",
        {},
        ["wire.value: unknown key, or a table for a content is meant. Did you mean 'values'?"],
    ),
    ("wire.deflate = 'yes'", {}, ["wire.deflate: received 'yes'; input should be a valid boolean."]),
    ("wire.logits.value = 'int8'", {}, ["wire.logits.value: unknown key. Did you mean 'values'?"]),
    ("evaluation.clients_evry = 1", {}, ["evaluation.clients_evry: unknown key. Did you mean 'clients_every'?"]),
    (
        "groups = [{ name = 'p', sparsity = 1.0 }]",
        {},
        ["groups.p.sparsity: received 1.0; input should be less than 1."],
    ),
    (
        "groups = [{ name = 'p', sparsity = -0.1 }]",
        {},
        ["groups.p.sparsity: received -0.1; input should be greater than or equal to 0."],
    ),
    (
        "groups = [{ name = 'p', sparsty = 0.1 }]",
        {},
        ["groups.p.sparsty: unknown key. Did you mean 'sparsity'?"],
    ),
    ("groups = [{ sparsity = 80 }]", {}, ["groups.0.sparsity: received 80; input should be less than 1."]),
    (
        "groups = [{ name = 'p', share = 0.5 }, { name = 'q', share = 0.6 }]",
        {},
        ["groups: shares have to sum to 1, received 0.5 + 0.6 = 1.1."],
    ),
    (
        "groups = [{ name = 'p', share = 0.5 }, { name = 'p', share = 0.5 }]",
        {},
        ["groups: names have to differ, received p, p."],
    ),
    (
        "server.minimum_replies = 4\nserver.cohort = 0.3",
        {},
        [
            "server.minimum_replies: received 4, but a round's cohort has 3 of 10 clients (server.cohort is 0.3); "
            "lower it."
        ],
    ),
    (
        "server = { minimum_replies = 2, cohort = 0.01 }\ndata.clients = 5",
        {},
        [
            "server.minimum_replies: received 2, but a round's cohort has 1 of 5 clients (server.cohort is 0.01); "
            "lower it."
        ],
    ),
    ("sweep.seeds = [-1]", {}, ["sweep.seeds.0: received -1; input should be greater than or equal to 0."]),
    ("sweep.seeds = [1, 1]", {}, ["sweep: names of variants and seeds have to differ from each other."]),
    (
        "sweep.variants = [{ name = 'a b' }, { name = 'a-b' }]",
        {},
        ["sweep: names of variants and seeds have to differ from each other."],
    ),
    (
        "sweep.variants = [{ name = 'x', set = { seed = 3, 'sweep.seeds' = [4] } }]",
        {},
        ["sweep: a variant cannot set seed, sweep.seeds; use sweep.seeds for seeds."],
    ),
    ("sweep.seed = [1]", {}, ["sweep.seed: unknown key. Did you mean 'seeds'?"]),
    ("sweep.variants = [{ name = 'x', sett = {} }]", {}, ["sweep.variants.x.sett: unknown key. Did you mean 'set'?"]),
    ("sweep.variants = [{ set = {} }]", {}, ["sweep.variants.0.name: is missing."]),
    (
        "groups = [{ name = 'phone' }]",
        {"groups.phne.share": 1.0},
        ["groups.phne.share: no group is named 'phne'. Did you mean 'phone'?"],
    ),
    (
        "groups = [{ name = 'phone' }]",
        {"groups.0.share": 1.0},
        ["groups.0.share: no group is named '0'. Known: phone."],
    ),
    (
        "groups = [{ name = 'phone' }]",
        {"groups.share": 1.0},
        ["groups.share: name a group and a key, for example groups.NAME.share=VALUE."],
    ),
    ("", {"name.x": 1}, ["name.x: name is a value, not a table."]),
    ("", {"dta.clients": 1}, ["name: is missing.", "dta: unknown key. Did you mean 'data'?"]),
]


@pytest.mark.parametrize(("text", "overrides", "expected"), BAD, ids=[f"{t} {o or ''}".strip() for t, o, _ in BAD])
def test_bad_input_is_named_with_what_was_received_and_expected(
    text: str, overrides: dict[str, Any], expected: list[str]
) -> None:
    name = {} if "name: is missing." in expected else {"name": "bad"}
    if overrides == {"name.x": 1}:
        name = {"name": "bad"}
    assert problems({**name, **tomllib.loads(text)}, overrides) == expected


@pytest.mark.parametrize(
    "bad",
    [
        "data = 3",
        "data.classes = 3",
        "groups = 3",
        "groups = []",
        "groups = [3]",
        "server.params = 3",
        "wire.logits = 3",
    ],
)
def test_wrong_shapes_are_one_line_with_key_and_value(bad: str) -> None:
    key, value = bad.split(" = ")
    (problem,) = problems({"name": "bad", **tomllib.loads(bad)})
    assert problem.startswith(key)
    assert "unknown key" in problem if key == "wire.logits" else f"received {value.strip('[]') or '[]'}" in problem


@pytest.mark.parametrize("name", ["a/b", "../up", "a\\b", "a\tb", ""])
def test_the_name_of_a_variant_is_part_of_a_directory(name: str) -> None:
    (problem,) = problems({"name": "bad", "sweep": {"variants": [{"name": name}]}})
    assert problem.startswith("sweep.variants.")
    assert f".name: received {name!r}; " in problem


def test_all_problems_are_listed_at_once() -> None:
    found = problems({"name": "", "rounds": 0, "data": {"cliens": 3}, "groups": [{"name": "p", "sparsity": 2}]})
    assert [problem.split(":")[0] for problem in found] == ["name", "rounds", "data.cliens", "groups.p.sparsity"]


def known_keys() -> list[tuple[str, str]]:
    """All (section, key) pairs that a scenario knows; a group's section is written `groups.g`."""

    def of(kind: type[BaseModel], prefix: str) -> list[tuple[str, str]]:
        return [(prefix, key) for key in kind.model_fields]

    found = of(Scenario, "")
    for section in ("data", "training", "wire", "server", "evaluation", "sweep"):
        kinds = messages._section(Scenario.model_fields[section].annotation)
        found += of(kinds, section)
    return [*found, *of(module.GroupSettings, "groups.g"), *of(module.ContentWire, "wire.logits")]


@pytest.mark.parametrize(("section", "key"), known_keys())
def test_a_key_without_its_last_letter_is_suggested(section: str, key: str) -> None:
    dotted = f"{section}.{key[:-1]}".lstrip(".")
    (problem,) = problems({"name": "near", "groups": [{"name": "g"}]}, {dotted: 1})
    assert problem.startswith(f"{dotted}: unknown key")
    assert problem.endswith(f" Did you mean {key!r}?")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory. Expected a TOML scenario."),
        (b'name = "\xff"', "cannot be read: it is not UTF-8 text. Expected a TOML scenario."),
        (b"name = \n", "is not valid TOML: Invalid value (at line 1, column 8)."),
        (b'name = "a"\nname = "b"\n', "is not valid TOML: Cannot overwrite a value (at line 2, column 11)."),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "bad.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        Scenario.load(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_folder_is_not_a_scenario(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        Scenario.load(tmp_path)


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "notepad.toml"
    path.write_bytes(b"\xef\xbb\xbf" + 'name = "à la carte"'.encode())
    assert read_toml(path) == {"name": "à la carte"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training.epochs=3", ("training.epochs", 3)),
        (" training.epochs = 3 ", ("training.epochs", 3)),
        ("data.alpha=1e-1", ("data.alpha", 0.1)),
        ("wire.deflate=false", ("wire.deflate", False)),
        ("data.classes=[6, 9]", ("data.classes", [6, 9])),
        ("data.dataset=npz:/tmp/my file=1.npz", ("data.dataset", "npz:/tmp/my file=1.npz")),
        ('name="3"', ("name", "3")),
        ("server.params.options={ eta = 0.1 }", ("server.params.options", {"eta": 0.1})),
    ],
)
def test_assignments_are_toml_or_bare_words(text: str, expected: tuple[str, Any]) -> None:
    assert parse_assignment(text) == expected


@pytest.mark.parametrize("text", ["training.epochs", "=3", " =3", ".=3", "data.=3", ".data=3", "data..alpha=3", ""])
def test_assignments_that_are_none(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_assignment(text)
    assert str(caught.value) == f"--set {text}: expected KEY=VALUE, for example --set training.epochs=3."


SWEEP: dict[str, Any] = {
    **TWO_GROUPS,
    "rounds": 5,
    "sweep": {
        "seeds": [3, 7],
        "variants": [{"name": "iid"}, {"name": "skew 0.1", "set": {"data.alpha": 0.1, "groups.phone.sparsity": 0.5}}],
    },
}


def test_a_sweep_is_variants_times_seeds() -> None:
    runs = Scenario.parse(SWEEP).runs()
    assert [name for name, _ in runs] == ["iid seed 3", "iid seed 7", "skew 0.1 seed 3", "skew 0.1 seed 7"]
    found = [(made.seed, made.data.alpha, made.groups[0].sparsity, made.rounds, made.sweep) for _, made in runs]
    assert found == [(3, 0.5, 0.0, 5, None), (7, 0.5, 0.0, 5, None), (3, 0.1, 0.5, 5, None), (7, 0.1, 0.5, 5, None)]


def test_without_a_sweep_there_is_one_run() -> None:
    made = Scenario.parse(TWO_GROUPS)
    assert made.runs() == [("two", made)]


def test_a_sweep_without_variants_or_seeds_has_one_of_each() -> None:
    runs = Scenario.parse({"name": "a", "seed": 9, "sweep": {}}).runs()
    assert [(name, made.seed) for name, made in runs] == [("base seed 1", 1)]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.cliens": 3}, "data.cliens: unknown key. Did you mean 'clients'?"),
        ({"groups.phne.share": 0.4}, "groups.phne.share: no group is named 'phne'. Did you mean 'phone'?"),
        ({"groups.phone.share": 0.5}, "groups: shares have to sum to 1, received 0.5 + 0.6 = 1.1."),
    ],
)
def test_a_bad_variant_is_refused(overrides: dict[str, Any], message: str) -> None:
    table = {**TWO_GROUPS, "sweep": {"variants": [{"name": "good"}, {"name": "bad", "set": overrides}]}}
    with pytest.raises(InputError) as caught:
        Scenario.parse(table).runs()
    assert message in str(caught.value)


def test_the_digest_tells_scenarios_apart() -> None:
    made = Scenario.parse(TWO_GROUPS)
    assert made.digest == Scenario.parse(copy.deepcopy(TWO_GROUPS)).digest
    assert made.digest == Scenario.parse(tomllib.loads(made.toml())).digest
    overrides = [{"seed": 2}, {"data.alpha": 0.4}, {"groups.watch.params.mu": 0.2}, {"wire.logits.values": "int8"}]
    digests = {Scenario.parse(TWO_GROUPS, override).digest for override in overrides}
    assert len(digests | {made.digest}) == 5


names = st.text("abcXYZ019_-", min_size=1, max_size=6)
fractions = st.floats(0, 1, exclude_max=True)
positive = st.floats(0, 1e6, exclude_min=True)
plain = st.one_of(st.booleans(), st.integers(-(2**40), 2**40), st.floats(-1e9, 1e9), st.text(max_size=5))
parameters = st.dictionaries(names, st.one_of(plain, st.lists(plain, max_size=3), st.dictionaries(names, plain)))


@st.composite
def scenarios(draw: st.DrawFn) -> dict[str, Any]:
    """Any valid table; shares are k / n, whose sum is 1 up to rounding."""
    weights = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    group_names = draw(st.lists(names, min_size=len(weights), max_size=len(weights), unique=True))
    groups = [
        {
            "name": name,
            "share": weight / sum(weights),
            "sparsity": draw(fractions),
            "params": draw(parameters),
            "compression_params": draw(parameters),
        }
        for name, weight in zip(group_names, weights, strict=True)
    ]
    content = st.fixed_dictionaries(
        {},
        optional={
            "codec": st.sampled_from(["dense", "sparse"]),
            "values": st.sampled_from(["float32", "float16", "int8", "int4"]),
            "deflate": st.booleans(),
        },
    )
    variants = st.lists(
        st.fixed_dictionaries({"name": names, "set": parameters}), min_size=1, max_size=3, unique_by=lambda v: v["name"]
    )
    seeds = st.lists(st.integers(0, 2**40), min_size=1, max_size=3, unique=True)
    optional: dict[str, Any] = {
        "seed": st.integers(0, 2**63),
        "rounds": st.integers(1, 10**6),
        "data": st.fixed_dictionaries(
            {},
            optional={
                "classes": st.lists(st.integers(0, 99)),
                "alpha": positive,
                "validation": fractions,
                "partition": st.sampled_from(["iid", "dirichlet", "feature"]),
            },
        ),
        "training": st.fixed_dictionaries({}, optional={"learning_rate": positive}),
        "server": st.fixed_dictionaries({}, optional={"timeout": positive, "model": names, "params": parameters}),
        "wire": st.dictionaries(st.sampled_from(["logits", "head", "generator"]), content),
        "sweep": st.fixed_dictionaries({}, optional={"seeds": seeds, "variants": variants}),
    }
    return {"name": "any", "groups": groups, **draw(st.fixed_dictionaries({}, optional=optional))}


@given(scenarios())
@settings(max_examples=30)
def test_the_resolved_scenario_reads_back_as_itself(table: dict[str, Any]) -> None:
    made = Scenario.parse(table)
    written = made.toml()
    again = Scenario.parse(tomllib.loads(written))
    assert again == made
    assert again.toml() == written


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.floats(1e-4, 0.5))
@settings(max_examples=60)
def test_shares_that_sum_to_one_pass_and_others_do_not(weights: list[int], off: float) -> None:
    shares = [weight / sum(weights) for weight in weights]
    groups = [{"name": f"g{i}", "share": share} for i, share in enumerate(shares)]
    assert len(Scenario.parse({"name": "a", "groups": groups}).groups) == len(weights)
    groups[0]["share"] = shares[0] * (1 - off)
    if shares[0] * off > 1e-6:
        (problem,) = problems({"name": "a", "groups": groups})
        assert problem.startswith("groups: shares have to sum to 1, received ")


@pytest.mark.parametrize(
    ("data", "least"),
    [({}, 2), ({"minimum": 7}, 7), ({"balanced": True}, 6), ({"balanced": True, "minimum": 2}, 2)],
)
def test_a_minimum_that_is_not_given_follows_from_balanced(data: dict[str, Any], least: int) -> None:
    """Half of the mean of 101 examples for 10 clients is 5.05, so 6; also after the scenario was written out and read
    again, and in a variant of a sweep."""
    made = Scenario.parse({"name": "x", "data": {"partition": "dirichlet", **data}})
    assert made.data.least(101) == least
    assert Scenario.parse(tomllib.loads(made.toml())).data.least(101) == least
    swept = Scenario.parse(
        {
            "name": "x",
            "data": {"partition": "dirichlet"},
            "sweep": {"variants": [{"name": "v", "set": {f"data.{key}": value for key, value in data.items()}}]},
        }
    )
    assert [single.data.least(101) for _, single in swept.runs()] == [least]


def said(act: Callable[[], object]) -> list[str]:
    """Returns the lines of the error that something ends with."""
    with pytest.raises(InputError) as caught:
        act()
    return str(caught.value).splitlines()


DEEP, LARGE = "it is nested more than 64 deep.", "an integer has more than 128 bits."


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = " + "[" * 5000 + "]" * 5000, DEEP),
        ("a = " + "{b = " * 200 + "1" + "}" * 200, DEEP),
        ("a = " + "[" * 80 + "]" * 80, DEEP),
        (".".join("a" * 100) + " = 1", DEEP),
        (".".join("a" * 100_000) + " = 1", DEEP),
        ("[" + " . ".join(["'a'"] * 100_000) + "]", DEEP),
        ("rounds = " + "9" * 5000, LARGE),
        ("rounds = 0x" + "f" * 5000, LARGE),
        ("seed = 170141183460469231731687303715884105728", LARGE),
        ("[server.params]\nx = [[1, -170141183460469231731687303715884105729]]", LARGE),
    ],
)
def test_toml_beyond_what_is_taken_is_one_clear_error(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    assert said(lambda: read_toml(path)) == [f"{path}: is not valid TOML: {problem}"]
    if text.startswith(("a = ", "rounds = ")):
        key, _, value = text.partition(" = ")
        assert said(lambda: parse_assignment(f"{key}={value}")) == [f"--set {key}: {problem}"]


def test_what_is_taken_of_toml(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        "a = " + "[" * 60 + "]" * 60 + "\nb = [" + "0.5, " * 5000 + f"]\nc = '{'.' * 1000}'\nd = {2**127 - 1}\n"
    )
    assert read_toml(path)["d"] == 2**127 - 1
    assert parse_assignment("a=" + "." * 1000) == ("a", "." * 1000)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ({"rounds": 10**5000}, f"rounds: {LARGE}"),
        ({"server.params.x": [[[2**127]]]}, f"server.params.x: {LARGE}"),
        ({"server.params.x": reduce(lambda inner, _: [inner], range(2000), 0)}, f"server.params.x: {DEEP}"),
        ({".".join("a" * 5000): 1}, "a." * 50 + f"... (9,999 characters): {DEEP}"),
    ],
)
def test_values_from_python_are_bounded_too(overrides: dict[str, Any], problem: str) -> None:
    assert said(lambda: Scenario.parse({"name": "a"}, overrides)) == [problem]


def test_many_problems_are_a_short_message() -> None:
    """The first 20, each of at most 4,000 characters, and how many more there are; whatever they are about."""
    lines = said(lambda: Scenario.parse({"name": "a", **{f"rounds{i}": 1 for i in range(50_000)}}))
    assert lines[:2] == ["rounds0: unknown key. Did you mean 'rounds'?", "rounds1: unknown key. Did you mean 'rounds'?"]
    assert (len(lines), lines[-1]) == (21, "and 49,980 more problems")
    lines = said(lambda: Scenario.parse({"name": "a", "data": {"classes": ["x"] * 3000}}))
    assert (len(lines), lines[-1]) == (21, "and 2,980 more problems")
    (line,) = said(lambda: Scenario.parse({"name": "a", "rounds": "9" * 100_000}))
    assert line == "rounds: received '" + "9" * 199 + "... (100,002 characters); input should be a valid integer."
    (line,) = said(lambda: Scenario.parse({"name": "a", "k" * 100_000: 1}))
    assert len(line) < 4100
    variants = [{"name": "bad", "set": {f"rounds{i}": 1 for i in range(30)}}]
    lines = said(Scenario.parse({"name": "a", "sweep": {"variants": variants}}).runs)
    assert (lines[0], lines[-1]) == (
        "sweep variant 'bad': rounds0: unknown key. Did you mean 'rounds'?",
        "and 10 more problems",
    )


def test_a_sweep_has_a_number_of_runs_that_can_be_checked() -> None:
    variants = [{"name": f"v{i}"} for i in range(101)]
    message = "sweep: 10,100 runs are more than a sweep may have, 10,000; use several sweeps."
    assert said(lambda: Scenario.parse({"name": "a", "sweep": {"variants": variants, "seeds": [*range(100)]}})) == [
        message
    ]
    assert Scenario.parse({"name": "a", "sweep": {"variants": variants[:100], "seeds": [*range(100)]}}).sweep


@pytest.mark.parametrize("name", ["n" * 201, "\u00e9" * 101, "\U00020000" * 51], ids=["one", "two", "four"])
def test_a_name_that_no_file_name_could_hold_is_refused(name: str) -> None:
    size = len(name.encode())
    problem = f"has {size} bytes of UTF-8; expected at most 200, so that a file name can hold it."
    assert said(lambda: Scenario.parse({"name": name})) == [f"name: {problem}"]
    assert said(lambda: Scenario.parse({"name": "a", "groups": [{"name": name}]})) == [f"groups.{name}.name: {problem}"]
    table = {"name": "a", "sweep": {"variants": [{"name": name}]}}
    assert said(lambda: Scenario.parse(table)) == [f"sweep.variants.{name}.name: {problem}"]
    assert said(lambda: Recipe.parse({"name": name, "experiments": [{}]})) == [f"name: {problem}"]
    recipe = {"name": "a", "experiments": [{"name": name}]}
    assert said(lambda: Recipe.parse(recipe)) == [f"experiments.{name}.name: {problem}"]
    assert Scenario.parse({"name": name[:50]}).name == name[:50]
