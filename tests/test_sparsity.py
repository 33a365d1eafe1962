"""The sparsity of a federation's models is that of all their kernels, and what stays dense is named beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedcompress.experiment import Experiment
from fedcompress.plugins import Plugins
from fedcompress.scenario import Scenario
from federating import TINY, run

MIXED = '''
"""mixed: a frozen nested convolution (36 weights), a depthwise one (36), a GRU (60 and 75), an embedding (40)."""

from fedcompress import keras
from fedcompress.models.architecture import Architecture


class Mixed(Architecture):
    """133 features."""

    def features(self, inputs):
        layers = keras.layers
        backbone = keras.Sequential([keras.Input(inputs.shape[1:]), layers.Conv2D(4, 3, name="seen")], name="backbone")
        backbone.trainable = False
        maps = layers.DepthwiseConv2D(3)(backbone(inputs))
        words = layers.Embedding(20, 2)(layers.Flatten()(inputs) * 15.0)
        read = layers.GRU(5)(layers.Reshape((16, 4))(maps))
        return layers.Concatenate()([read, layers.Flatten()(words)])
'''


@pytest.fixture
def plugins(tmp_path: Path) -> Plugins:
    (tmp_path / "plugins" / "models").mkdir(parents=True)
    (tmp_path / "plugins" / "models" / "mixed.py").write_text(MIXED, encoding="utf-8")
    return Plugins((tmp_path / "plugins",))


def experiment(plugins: Plugins, compression: str, sparsity: float, **params: Any) -> Experiment:
    group = {"name": "all", "model": "mixed", "compression": compression, "sparsity": sparsity}
    table = {
        **TINY,
        "rounds": 2,
        "data": {"dataset": "digits", "clients": 2},
        "groups": [{**group, "compression_params": params}],
    }
    return Experiment.load(Scenario.parse(table), plugins)


AT_ONCE = {"schedule": "constant", "begin_round": 0}


@pytest.mark.parametrize(
    ("compression", "params"),
    [("magnitude", AT_ONCE), ("magnitude", {**AT_ONCE, "mask": "server"}), ("cluster", {**AT_ONCE, "clusters": 4})],
)
def test_zeros_are_counted_over_all_kernels(
    plugins: Plugins, tmp_path: Path, compression: str, params: dict[str, Any]
) -> None:
    """A fifth of 36, 60, 75 and 1,330 stays, 7 + 12 + 15 + 266; with the 76 that stay dense 376 of 1,577."""
    made = experiment(plugins, compression, 0.8, **params)
    summary, directory, _ = run(made, tmp_path / "run")
    assert summary["groups"]["all"]["sparsity"] == pytest.approx(1 - 376 / 1577)
    assert [row["sparsity"] for row in directory.rows("clients")] == pytest.approx(4 * [1 - 376 / 1577])
    assert summary["groups"]["all"]["sparsity_target"] == 0.8
    assert summary["warnings"] == [
        "groups.all: layers stay dense: seen, embedding: 4.8 % of the kernels' weights; a sparsity of 0.8 of the "
        "others is one of 0.761 of the model."
    ]


def test_a_difference_that_nobody_would_notice_is_no_warning(plugins: Plugins) -> None:
    """0.2 of 4.8 % is 0.0096."""
    assert experiment(plugins, "magnitude", 0.2).warnings == []
    assert len(experiment(plugins, "magnitude", 0.21).warnings) == 1
    assert experiment(plugins, "none", 0.0).warnings == []


TRANSFER = '''
"""transfer: a frozen convolution (36 weights), and nothing to train but a head (1,440)."""

from fedcompress import keras
from fedcompress.models.architecture import Architecture


class Transfer(Architecture):
    """144 features."""

    def features(self, inputs):
        return keras.layers.Flatten()(keras.layers.Conv2D(4, 3, trainable=False)(inputs))
'''


@pytest.mark.parametrize("scope", ["layer", "model", "erk"])
@pytest.mark.parametrize(
    ("client", "server"),
    [
        ("fedpkdg", {"strategy": "fedpkdg"}),
        ("simkd", {"strategy": "fedsimkd", "model": "transfer", "params": {"objective": "head-reuse"}}),
    ],
)
def test_a_head_that_is_reused_leaves_a_frozen_backbone_nothing_to_prune(
    tmp_path: Path, scope: str, client: str, server: dict[str, Any]
) -> None:
    """The global student of fedpkdg, and the clients of fedsimkd after their warm-up: 0 of 1,476 weights, then."""
    (tmp_path / "models").mkdir(parents=True)
    (tmp_path / "models" / "transfer.py").write_text(TRANSFER, encoding="utf-8")
    group = {"name": "all", "model": "transfer", "client": client, "compression": "magnitude", "sparsity": 0.8}
    table = {
        **TINY,
        "rounds": 2,
        "data": {"dataset": "digits", "clients": 2, "examples": 200},
        "public": {"source": "holdout", "examples": 40},
        "server": server,
        "groups": [{**group, "compression_params": {**AT_ONCE, "scope": scope}}],
    }
    made = Experiment.load(Scenario.parse(table), Plugins((tmp_path,)))
    _, directory, _ = run(made, tmp_path / "run")
    rows = [(row["round"], row["status"], row["sparsity"]) for row in directory.rows("clients")]
    pruned = pytest.approx(1 - (36 + 288) / 1476)
    second = pruned if client == "fedpkdg" else pytest.approx(0.0, abs=1e-3)
    assert rows == 2 * [(1, "ok", pruned)] + 2 * [(2, "ok", second)]
