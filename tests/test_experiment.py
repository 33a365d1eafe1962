"""A scenario made concrete: clients dealt to groups, plug-ins and their parameters checked, data split."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.fedprox import FedProxParams
from fedcompress import keras
from fedcompress.checks import resolved
from fedcompress.data import loading
from fedcompress.errors import InputError
from fedcompress.experiment import ClientInfo, Experiment
from fedcompress.groups import deal
from fedcompress.launch import run_one
from fedcompress.plugins import Plugins, finding
from fedcompress.scenario import Scenario
from fedcompress.scenario.sections import GroupSettings
from federating import experiment
from strategies.fedavg import FedAvgParams

Table = dict[str, Any]
PRUNED = "groups.pruned.compression_params"


def load(table: Table, overrides: Table | None = None, *folders: Path) -> Experiment:
    return Experiment.load(Scenario.parse(table, overrides), Plugins(folders))


def refusal(table: Table, overrides: Table, *folders: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(table, overrides, *folders)
    assert all("\n" not in problem for problem in caught.value.problems)
    return caught.value.problems


def groups_of(*shares: float) -> list[GroupSettings]:
    return [GroupSettings(name=f"g{i}", share=share) for i, share in enumerate(shares)]


@pytest.mark.parametrize(
    ("shares", "clients", "expected"),
    [
        ((0.4, 0.3, 0.3), 10, [4, 3, 3]),
        # Quotas 3.5, 2.1, 1.4: floors 3, 2, 1; the one that is left goes to the largest remainder, 0.5.
        ((0.5, 0.3, 0.2), 7, [4, 2, 1]),
        # Quotas 2.01 and 0.99: the remainder decides, not the size.
        ((0.67, 0.33), 3, [2, 1]),
        # Equal remainders: the group that is listed first.
        ((0.5, 0.5), 5, [3, 2]),
        ((0.25, 0.25, 0.25, 0.25), 6, [2, 2, 1, 1]),
        # 0.29 * 100 is 28.999999999999996 in binary, and means 29.
        ((0.29, 0.71), 100, [29, 71]),
        ((1.0,), 1, [1]),
    ],
)
def test_clients_are_dealt_by_largest_remainder(shares: tuple[float, ...], clients: int, expected: list[int]) -> None:
    assert [len(part) for part in deal(groups_of(*shares), clients, 1)] == expected


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 300), st.integers(0, 2**32))
@settings(max_examples=60)
def test_dealing_is_complete_disjoint_and_within_one_of_the_quota(weights: list[int], clients: int, seed: int) -> None:
    groups = groups_of(*(weight / sum(weights) for weight in weights))
    try:
        parts = deal(groups, clients, seed)
    except InputError:
        assert min(group.share for group in groups) * clients < 1
        return
    assert sorted(np.concatenate(parts).tolist()) == list(range(clients))
    for group, part in zip(groups, parts, strict=True):
        assert abs(len(part) - group.share * clients) < 1 + 1e-6
        assert part.tolist() == sorted(part.tolist())


def test_who_is_in_which_group_follows_from_the_seed_alone() -> None:
    def dealt(seed: int) -> list[list[int]]:
        return [part.tolist() for part in deal(groups_of(0.5, 0.5), 40, seed)]

    assert dealt(1) == dealt(1)
    assert dealt(1) != dealt(2)
    assert dealt(1)[0] != list(range(20))  # shuffled, so that a group is not a run of partitions


def test_a_group_is_not_called_as_the_servers_own_model(tiny: Table) -> None:
    overrides = {"groups": [{"name": "server", "model": "mini-cnn"}], "server.model": "medium-cnn"}
    problem = "groups.server.name: the server's own model is called so; give the group another name."
    assert problem in refusal(tiny, overrides)


def test_a_group_without_clients_is_refused(tiny: Table) -> None:
    assert refusal(tiny, {"data.clients": 1}) == [
        "groups.pruned.share: 0.33 of 1 client gives it none; raise it, or data.clients."
    ]


def test_many_groups_are_checked_at_once(tiny: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are looked for once, not for each group; and groups without clients are found before any data is read."""
    looked: list[str] = []
    original = finding._module_names
    monkeypatch.setattr(finding, "_module_names", lambda package: looked.append(package) or original(package))
    groups = [{"name": f"g{i}", "share": 1 / 300, "model": "mini-cnn"} for i in range(300)]
    table = {**tiny, "groups": groups, "data": {**tiny["data"], "clients": 300}}
    assert len(resolved(Scenario.parse(table), Plugins()).groups) == 300
    assert len(looked) <= 14  # twice for each of seven kinds
    monkeypatch.setattr(loading, "load_dataset", lambda *_, **__: pytest.fail("the data is read"))
    problems = refusal({**table, "data": {**tiny["data"], "clients": 10}}, {})
    assert problems[0] == "groups.g10.share: 0.00333333 of 10 clients gives it none; raise it, or data.clients."
    assert len(problems) == 290


def test_the_clients_that_a_server_sees(tiny: Table) -> None:
    """1,438 digits; 5 % are 71.9, so 72 for the server; 1,366 over three clients are 456, 455 and 455; a tenth of each,
    46 or 45.5 rounded to 46, is its validation."""
    made = load(tiny)
    assert [client.partition for client in made.clients] == [0, 1, 2]
    assert sorted(client.group for client in made.clients) == ["dense", "dense", "pruned"]
    assert [client.examples for client in made.clients] == [410, 409, 409]
    assert [len(made.data.validation(p)) for p in range(3)] == [46, 46, 46]
    assert len(made.data.server_validation_examples) == 72
    for client in made.clients:
        assert made.group_of(client.partition).name == client.group
        assert client.partition in made.groups[client.group].clients
        assert client == ClientInfo(client.partition, client.group, "mini-cnn", client.examples)
    assert list(made.models) == ["mini-cnn"]
    assert made.groups["dense"].model is made.groups["pruned"].model
    assert (made.models["mini-cnn"].input_shape, made.models["mini-cnn"].classes) == ((8, 8, 1), 10)


def test_one_scenario_is_one_experiment(tiny: Table) -> None:
    """Driver and remote node each build it; a round trip through the file in the run directory changes nothing."""
    overrides: Table = {"data.partition": "dirichlet", "groups.dense.client": "fedprox"}
    made, again = load(tiny, overrides), load(tiny, overrides)
    assert made.data is not again.data
    assert made.data.digest == again.data.digest
    assert made.clients == again.clients
    assert made.scenario == again.scenario
    resolved = Scenario.parse(tomllib.loads(made.scenario.toml()))
    third = Experiment.load(resolved)
    assert (third.scenario, third.data.digest, third.clients) == (made.scenario, made.data.digest, made.clients)
    assert third.scenario.digest == made.scenario.digest


@pytest.mark.parametrize("change", [{"seed": 2}, {"data.alpha": 0.4}, {"data.clients": 4}, {"data.validation": 0.2}])
def test_other_settings_are_other_data(tiny: Table, change: Table) -> None:
    overrides: Table = {"data.partition": "dirichlet"}
    assert load(tiny, {**overrides, **change}).data.digest != load(tiny, overrides).data.digest


def test_data_may_have_a_seed_of_their_own(tiny: Table) -> None:
    """Then another seed trains on the same federation; without it, nothing is as if there were no such key."""
    tiny["data"]["partition"] = "dirichlet"
    first, *others = (load(tiny, {"seed": seed, "data.seed": 7}) for seed in (1, 2))
    assert [other.data.digest for other in others] == [first.data.digest]
    assert [client.group for client in others[0].clients] == [client.group for client in first.clients]
    assert others[0].data.test_part(0).tolist() == first.data.test_part(0).tolist()
    weights = [one.initial_weights(one.groups["dense"].model) for one in (first, *others)]
    assert not np.array_equal(weights[0][0], weights[1][0])
    plain = Scenario.parse(tiny, {"seed": 7})
    assert "seed" not in plain.table()["data"]
    assert load(tiny, {"seed": 7}).data.digest == first.data.digest


def test_settings_of_groups_leave_the_data_alone(tiny: Table) -> None:
    changed = load(tiny, {"groups.pruned.sparsity": 0.9, "training.epochs": 7, "server.strategy": "local"})
    assert changed.data.digest == load(tiny).data.digest


def test_parameters_are_resolved_into_the_scenario(tiny: Table) -> None:
    made = load(tiny, {"groups.dense.client": "fedprox", "groups.pruned.compression_params.freeze_round": 2})
    dense, pruned = made.scenario.groups
    assert made.scenario.server.params == FedAvgParams().model_dump(exclude_none=True)
    assert made.scenario.server.params["plain"] is False
    assert dense.params == {"mu": FedProxParams().mu} == {"mu": 0.01}
    assert dense.compression_params == {}
    assert pruned.params == {}
    assert pruned.compression_params == {
        "schedule": "polynomial",
        "initial": 0.0,
        "power": 3.0,
        "freeze_round": 2,
        "frequency": 10,
        "scope": "model",
        "mask": "client",
    }
    assert made.groups["dense"].settings.name == "dense"
    assert (made.groups["pruned"].compression.target(2), made.groups["dense"].compression.target(2)) == (0.5, 0.0)


def test_wire_settings_per_content(tiny: Table) -> None:
    made = load(tiny, {"wire.values": "float16", "wire.logits.values": "int8", "wire.logits.deflate": False})
    assert made.scenario.wire.values == "float16"
    content = made.contents(made.groups["dense"])["weights"]
    assert str(made.wire.encoding("weights", content).values) == "float16"
    logits = made.wire.encoding("logits", content)
    assert (str(logits.values), logits.deflate) == ("int8", False)


BAD = [
    (
        {"server.strategy": "fedagv", "groups.dense.model": "mini", "groups.pruned.client": "sdg"},
        [
            "server.strategy: unknown server strategy 'fedagv'. Did you mean 'fedavg'?",
            "groups.dense.model: unknown model 'mini'. Did you mean 'mini-cnn'?",
            "groups.pruned.client: unknown client strategy 'sdg'. Did you mean 'sgd'?",
        ],
    ),
    ({"data.dataset": "minst"}, ["data.dataset: unknown data set 'minst'. Did you mean 'mnist'?"]),
    ({"data.partition": "dirichlett"}, ["data.partition: unknown partition 'dirichlett'. Did you mean 'dirichlet'?"]),
    *(
        (
            {"data.balanced": True, "data.partition": name},
            [f'data.balanced: is for partition = "dirichlet", but data.partition is "{name}".'],
        )
        for name in ("iid", "quantity", "feature")
    ),
    ({"data.partition_params.bands": 3}, ["data.partition_params.bands: unknown parameter. There are none."]),
    (
        {"groups.pruned.compression": "magnitud"},
        ["groups.pruned.compression: unknown compression 'magnitud'. Did you mean 'magnitude'?"],
    ),
    (
        {"wire.logits.values": "int9", "wire.whole": "quaternary"},
        [
            "wire.whole: unknown value type 'quaternary'. Did you mean 'ternary'?",
            "wire.logits.values: unknown value type 'int9'. Did you mean 'int8'?",
        ],
    ),
    (
        {"wire.downlink_values": "x"},
        [
            "wire.downlink_values: unknown value type 'x'. Known: clustered, codebooks, float16, float32, int4, int8, "
            "ternary.",
        ],
    ),
    ({"server.model": "big"}, ["server.model: unknown model 'big'. Did you mean 'big-cnn'?"]),
    (
        {"groups.dense.params.mu": 0.1},
        ["groups.dense.params.mu: unknown parameter. There are none."],
    ),
    (
        {"groups.dense.client": "fedprox", "groups.dense.params.my": 0.1},
        ["groups.dense.params.my: unknown parameter. Known: mu."],
    ),
    (
        {"groups.dense.client": "fedprox", "groups.dense.params.mu": -1},
        ["groups.dense.params.mu: received -1; input should be greater than or equal to 0."],
    ),
    (
        {"server.params.plan": True, f"{PRUNED}.schedul": "constant"},
        [
            "server.params.plan: unknown parameter. Did you mean 'plain'?",
            f"{PRUNED}.schedul: unknown parameter. Did you mean 'schedule'?",
        ],
    ),
    (
        {f"{PRUNED}.mask": "both"},
        [f"{PRUNED}.mask: received 'both'; input should be 'client' or 'server'."],
    ),
    (
        {f"{PRUNED}.begin_round": 5, f"{PRUNED}.end_round": 4},
        [
            f"{PRUNED}: received {{'begin_round': 5, 'end_round': 4}}; begin_round has to come before end_round, "
            "received 5 and 4."
        ],
    ),
    (
        {"server.strategy": "flower", "server.params.name": "FedAdm"},
        ["server.params.name: received 'FedAdm'; unknown or not an aggregator of weights. Did you mean 'FedAdam'?"],
    ),
    (
        {"groups.dense.sparsity": 0.5},
        [
            "groups.dense.sparsity: received 0.5, but compression 'none' never prunes in 2 rounds; "
            'use compression = "magnitude", or sparsity = 0.'
        ],
    ),
    (
        {f"{PRUNED}.begin_round": 2},
        [
            "groups.pruned.sparsity: received 0.5, but compression 'magnitude' never prunes in 2 rounds; "
            "use more rounds, an earlier begin_round, or sparsity = 0."
        ],
    ),
    (
        {"server.strategy": "local", f"{PRUNED}.mask": "server"},
        [f"{PRUNED}.mask: strategy 'local' does not hand out masks; use mask = \"client\"."],
    ),
    (
        {"data.clients": 1367, "data.minimum": 1},
        ["1367 clients x at least 1 example are 1367, but there are only 1366 examples; lower clients or minimum."],
    ),
    (
        {"data.clients": 700},
        ["700 clients x at least 2 examples are 1400, but there are only 1366 examples; lower clients or minimum."],
    ),
    (
        {"data.partition": "shard", "data.shards_per_client": 456},
        ["3 clients x 456 shards are 1368, but there are only 1366 examples; lower shards_per_client or clients."],
    ),
    (
        {"data.partition": "pathological", "data.classes_per_client": 11},
        ["classes_per_client is 11, but the number of classes is 10."],
    ),
    ({"data.classes": [3]}, ["classes is [3]; expected at least two."]),
    ({"data.classes": [3, 12]}, ["'digits' has no class [12]; it has 0 to 9."]),
    ({"data.dataset": "npz"}, ["The data set is 'npz'; expected 'npz:FILE'."]),
    ({"data.dataset": "digits:8"}, ["The data set is 'digits:8'; expected 'digits'."]),
]


@pytest.mark.parametrize(("overrides", "expected"), BAD, ids=[", ".join(overrides) for overrides, _ in BAD])
def test_bad_input_is_refused(tiny: Table, overrides: Table, expected: list[str]) -> None:
    assert refusal(tiny, overrides) == expected


def test_a_balanced_federation(tiny: Table) -> None:
    """1,366 training examples of ten clients: at least 69 each, half of the mean, or what is given as the minimum."""
    skewed = {"data.clients": 10, "data.partition": "dirichlet", "data.alpha": 0.1, "seed": 1}
    sizes = {
        minimum: min(client.examples for client in load(tiny, {**skewed, **minimum_of(minimum)}).clients)
        for minimum in (None, 20, 120)
    }
    assert sizes[None] >= 62  # a tenth of each client's 69 and more is for its validation
    assert 18 <= sizes[20] < sizes[None]
    assert sizes[120] >= 108
    plain = min(client.examples for client in load(tiny, skewed).clients)
    assert plain < sizes[20]


def minimum_of(minimum: int | None) -> Table:
    return {"data.balanced": True, **({} if minimum is None else {"data.minimum": minimum})}


def test_as_many_clients_as_examples_are_fine(tiny: Table) -> None:
    made = load(tiny, {"data.clients": 1366, "data.minimum": 1})
    assert {client.examples for client in made.clients} == {1}
    assert {len(made.data.validation(client.partition)) for client in made.clients} == {0}


def plug_in(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return root


def test_a_strategy_that_needs_an_action_which_a_client_lacks(tiny: Table, tmp_path: Path) -> None:
    """Both are named, for every group that lacks it, before anything runs."""
    only = "from fedcompress.client import ClientStrategy, Result, action\nclass Only(ClientStrategy):\n    @action\n"
    folder = plug_in(tmp_path, "clients/only-teach.py", only + "    def teach(self, payload, round_number): ...\n")
    plug_in(tmp_path, "clients/idle.py", "from fedcompress.client import ClientStrategy\nclass I(ClientStrategy): ...")
    overrides = {"groups.dense.client": "only-teach", "groups.pruned.client": "idle"}
    assert refusal(tiny, overrides, folder) == [
        "groups.dense.client: strategy 'fedavg' needs the action train, which client 'only-teach' does not have "
        "(it has teach).",
        "groups.pruned.client: strategy 'fedavg' needs the action train, which client 'idle' does not have "
        "(it has none).",
    ]
    assert refusal(tiny, {**overrides, "server.strategy": "local"}, folder)[0].startswith(
        "groups.dense.client: strategy 'local' needs the action train_alone, which client 'only-teach' does not have"
    )
    assert load(tiny, {**overrides, "server.strategy": "centralized"}, folder).groups["dense"].client.actions() == {
        "deploy",  # which every client has
        "teach",
    }


SOURCE = """
import numpy as np
from fedcompress.data.dataset import Dataset, DatasetSource

class Stripes(DatasetSource):
    def load(self, roots):
        y = np.arange(60) % 3
        x = np.repeat(np.uint8(80 * y)[:, None, None], 4, axis=1) * np.ones((1, 1, 4), np.uint8)
        return Dataset("stripes", x, y, x[:30], y[:30], 3)
"""


def test_a_data_set_of_ones_own(tiny: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder and by its path: 60 examples of 3 classes, 3 for the server, 57 for three clients."""
    folder = plug_in(tmp_path, "datasets/stripes.py", SOURCE)
    monkeypatch.syspath_prepend(folder / "datasets")
    by_name = load(tiny, {"data.dataset": "stripes"}, folder)
    by_path = load(tiny, {"data.dataset": "stripes:Stripes"})
    for made in (by_name, by_path):
        assert made.data.distribution.sum() == 57
        assert (made.models["mini-cnn"].input_shape, made.models["mini-cnn"].classes) == ((4, 4, 1), 3)
    assert by_name.data.digest == by_path.data.digest
    assert by_name.scenario.data.dataset == "stripes"


def test_a_model_that_does_not_fit_the_data_is_refused(tiny: Table, tmp_path: Path) -> None:
    x, y = np.zeros((60, 5), np.float32), np.arange(60) % 2
    np.savez(tmp_path / "table.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    made = load(tiny, {"data.dataset": f"npz:{tmp_path / 'table.npz'}"})
    with pytest.raises(InputError, match=r"model 'mini-cnn' does not fit .*, whose examples are rows of 5 features"):
        made.check_models()


def test_a_model_that_returns_no_logit_for_each_class_is_refused() -> None:
    """One that is for tables keeps the other dimensions of a picture."""
    made = experiment({"data": {"dataset": "digits", "clients": 2}, "groups": [{"name": "all", "model": "table"}]})
    with pytest.raises(InputError) as caught:
        made.check_models()
    assert str(caught.value) == (
        "model 'table' does not fit 'digits', whose examples are 8x8x1: it returns (None, 8, 8, 10), "
        "expected (None, 10): a logit for each class"
    )


@pytest.mark.parametrize(
    ("group", "problem"),
    [
        (
            {"compression": "magnitude", "bits": 8},
            "groups.a.bits: received 8, but compression 'magnitude' does not round; use compression = \"quantise\".",
        ),
        (
            {"compression": "quantise", "bits": 24},
            "groups.a.bits: received 24; compression 'quantise' supports 2 to 16, or 32 (float).",
        ),
    ],
)
def test_bits_that_a_compression_does_not_support(group: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        Experiment.load(Scenario.parse({"name": "x", "groups": [{"name": "a", **group}]}))
    assert caught.value.problems == [problem]


@pytest.mark.parametrize("kind", ["quantise", "cluster"])
def test_rounding_in_a_federation(tiny: dict[str, Any], tmp_path: Path, kind: str) -> None:
    """4 bits have at most 15 values, 15 clusters and zero at most 16; what is exported is rounded, too."""
    own = {"bits": 4} if kind == "quantise" else {"compression_params": {"clusters": 15}}
    tiny["groups"] = [{"name": "all", "model": "mini-cnn", "compression": kind, "sparsity": 0.5, **own}]
    summary = run_one(Scenario.parse(tiny, {"wire.values": "int4"}), tmp_path / "run")
    assert summary["status"] == "completed"
    assert summary["groups"]["all"]["deployed_accuracy"] > 0
    model = keras.models.load_model(tmp_path / "run" / "models" / "all.h5", compile=False)
    kernels = [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")]
    assert all(len(np.unique(kernel)) <= 16 for kernel in kernels)


COUNTED = """
from fedcompress import keras
from fedcompress.models.architecture import Architecture

class Counted(Architecture):
    def features(self, inputs):
        return keras.layers.Flatten()(keras.layers.Normalization()(inputs))
"""


def test_a_model_that_cannot_be_averaged_is_refused(tiny: Table, tmp_path: Path) -> None:
    made = load(tiny, {"groups.dense.model": "counted"}, plug_in(tmp_path, "models/counted.py", COUNTED))
    with pytest.raises(InputError, match=r"^model 'counted' has weights that are no real numbers .*count \(int64\)"):
        made.check_models()
