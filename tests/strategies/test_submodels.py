"""HeteroFL, FjORD and FedRolex: what clients minimise, what the server averages, and whole federations of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.fjord import OrderedDropout
from clients.heterofl import SlicedCrossEntropy, folded
from fedcompress import keras
from fedcompress.compression import masks as masking
from fedcompress.compression.base import Compression, Params
from fedcompress.compression.kinds.slice import Slice, SliceParams, prefixes
from fedcompress.data.federated import Examples
from fedcompress.errors import InputError
from fedcompress.models import channels
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.models.architectures.mini_cnn import MiniCNN
from fedcompress.models.walking import adjusted
from fedcompress.options import Options
from fedcompress.results.export import export_models
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.strategy import Reply
from fedcompress.training.objectives import CrossEntropy, Objective
from fedcompress.training.trainer import Trainer, evaluate, predict
from fedcompress.wire.content import Arrays
from tests.federating import PLUGINS, experiment, run
from tests.test_same_bits import Breaks, outcome

MINI = ModelSpec("mini-cnn", MiniCNN(), (8, 8, 1), 10)


class Curved(Architecture):
    """Activations that a factor does not pass through, one of them a layer that makes something of nothing."""

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Conv2D(5, 3, activation="tanh")(inputs)
        x = keras.layers.Conv2D(6, 3)(keras.layers.MaxPooling2D(2)(x))
        x = keras.layers.Flatten()(keras.layers.Activation("sigmoid")(x))
        return keras.layers.Dense(7, activation="tanh")(x)


CURVED = ModelSpec("curved", Curved(), (12, 12, 1), 10)
METHODS = ("heterofl", "fjord", "fedrolex")
WIDTHS = {"large": 1.0, "half": 0.5, "small": 0.25}


def federation(method: str, **groups: Any) -> dict[str, Any]:
    """A federation of three widths; keys of `groups` are added to each group."""
    client = {"client": "sgd"} if method == "fedrolex" else {"client": method}
    drawn = {"widths": [0.25, 0.5, 1.0]} if method == "fjord" else {}
    return {
        "rounds": 3,
        "data": {"dataset": "digits", "clients": 6, "partition": "dirichlet", "alpha": 0.5},
        "training": {"batch_size": 16, "learning_rate": 0.01, "epochs": 3},
        "server": {"strategy": method},
        "groups": [
            {
                "name": name,
                "share": 1 / 3,
                "model": "mini-cnn",
                **client,
                "params": {**drawn},
                "compression": "slice",
                "compression_params": {"width": width},
                **groups,
            }
            for name, width in WIDTHS.items()
        ],
    }


def trainer(width: float = 1.0, rate: float = 0.1) -> Trainer:
    """One epoch of plain SGD; each call shuffles alike."""
    settings = TrainingSettings(epochs=1, batch_size=16, learning_rate=rate, optimizer="sgd")
    compression = Slice(SliceParams(width=width), sparsity=0.0, rounds=1)
    return Trainer(MINI, compression, settings, 1, lambda _: np.random.default_rng(7))


def images(classes: int = 10) -> Examples:
    rng = np.random.default_rng(0)
    return Examples(rng.random((64, 8, 8, 1), np.float32), rng.integers(classes, size=64).astype(np.int32))


def dropout(widths: tuple[float, ...], **settings: Any) -> OrderedDropout:
    return OrderedDropout(MINI, widths, **{"distil": True, "alpha": 1.0, "temperature": 1.0, **settings})


def fitted(objective: Objective, rate: float = 0.1, masks: Arrays | None = None) -> Arrays:
    start = MINI.initial(np.random.default_rng(1))
    return trainer(0.5 if masks else 1.0, rate).fit(start, images(), objective, masks=masks).weights


def close(some: Arrays, others: Arrays) -> bool:
    return all(np.allclose(a, b, atol=1e-5) for a, b in zip(some, others, strict=True))


def test_the_scaler_is_a_factor_on_kernels_and_biases_before_activations() -> None:
    """1 / width times W x + b is what a network of larger weights computes, but for the head."""
    weights, x = curved()
    model, larger = CURVED.build(), CURVED.build()
    scaled = adjusted(model, factor=4.0)
    model.set_weights(weights)
    larger.set_weights([*(4 * w for w in CURVED.encoder_of(weights)), *CURVED.head_of(weights)])
    np.testing.assert_allclose(scaled(x, training=True).numpy(), larger(x).numpy(), atol=1e-5)
    assert np.abs(scaled(x).numpy() - predict(CURVED, weights, x)).max() > 0.1
    np.testing.assert_allclose(predict(CURVED, folded(CURVED, weights, 4.0), x), scaled(x).numpy(), atol=1e-5)


def test_channels_that_are_masked_out_are_not_there() -> None:
    """With masks as inputs the whole network says what the slice says; with none at zero what it says itself."""
    weights, x = curved()
    model = CURVED.build()
    masked = adjusted(model, masked=True)
    model.set_weights(weights)
    kept = prefixes(CURVED, 0.25)
    slice_ = channels.narrowed(CURVED, [int(k.sum()) for k in kept]).build()
    slice_.set_weights(channels.sliced(CURVED, weights, kept))
    rows = [k[np.newaxis].astype(np.float32) for k in kept]
    np.testing.assert_allclose(masked([x, *rows]).numpy(), slice_(x).numpy(), atol=1e-5)
    assert np.abs(slice_(x).numpy() - model(x).numpy()).max() > 0.1
    np.testing.assert_array_equal(masked([x, *map(np.ones_like, rows)]).numpy(), model(x).numpy())


def curved() -> tuple[Arrays, Any]:
    """Weights without zeros, and inputs."""
    rng = np.random.default_rng(0)
    weights = [w + np.float32(0.1) * rng.standard_normal(w.shape, np.float32) for w in CURVED.initial(rng)]
    return weights, rng.random((5, 12, 12, 1), np.float32)


def test_a_slice_without_scaler_and_with_all_classes_is_trained_as_by_sgd() -> None:
    masks = Slice(SliceParams(width=0.5), sparsity=0.0, rounds=1).window(MINI, 0)
    plain = SlicedCrossEntropy(1.0, np.ones(10, np.float32))
    assert close(fitted(plain, masks=masks), fitted(CrossEntropy(), masks=masks))
    assert not close(fitted(SlicedCrossEntropy(2.0, np.ones(10, np.float32)), masks=masks), fitted(plain, masks=masks))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_head_columns_of_absent_classes_stay_as_they_are(optimizer: str) -> None:
    start, data = MINI.initial(np.random.default_rng(1)), images(classes=4)
    settings = TrainingSettings(epochs=2, batch_size=16, learning_rate=0.05, optimizer=optimizer)
    plain = Compression(Params(), sparsity=0.0, rounds=1)
    fit = Trainer(MINI, plain, settings, 1, lambda _: np.random.default_rng(7)).fit
    present = np.float32(np.arange(10) < 4)
    kernel, bias = MINI.head_of(fit(start, data, SlicedCrossEntropy(2.0, present)).weights)
    before, _ = MINI.head_of(start)
    np.testing.assert_array_equal(kernel[:, 4:], before[:, 4:])
    assert not bias[4:].any()
    assert (np.abs(kernel[:, :4] - before[:, :4]).max(axis=0) > 1e-3).all()
    assert MINI.head_of(fit(start, data).weights)[1][4:].all()  # plain training moves them


def test_ordered_dropout_at_the_clients_width_alone_is_plain_training() -> None:
    """One width is always drawn: alone CE; with the teacher CE + KL(z || z), which has no gradient; with alpha = 0 CE
    twice, which is twice the learning rate."""
    assert close(fitted(dropout((1.0,), distil=False)), fitted(CrossEntropy()))
    assert close(fitted(dropout((1.0,))), fitted(CrossEntropy()))
    assert close(fitted(dropout((1.0,), alpha=0.0)), fitted(CrossEntropy(), rate=0.2))


def test_ordered_dropout_trains_the_channels_of_the_width_that_is_drawn() -> None:
    """A fourth of four channels is one: without a teacher the others stay as they are, and the slice trains alone."""
    start, trained = MINI.initial(np.random.default_rng(1)), fitted(dropout((0.25,), distil=False))
    kept = prefixes(MINI, 0.25)
    masks = dict(zip(MINI.prunable, channels.masks_of(MINI, kept), strict=True))
    for i, mask in masks.items():
        np.testing.assert_array_equal(trained[i][~mask], start[i][~mask])
        assert not np.array_equal(trained[i][mask], start[i][mask])
    spec = channels.narrowed(MINI, [1, 1])
    settings = TrainingSettings(epochs=1, batch_size=16, learning_rate=0.1, optimizer="sgd")
    plain = Compression(Params(), sparsity=0.0, rounds=1)
    alone = Trainer(spec, plain, settings, 1, lambda _: np.random.default_rng(7))  # widths are drawn after the shuffle
    moved = alone.fit(channels.sliced(MINI, start, kept), images()).weights
    assert close(channels.sliced(MINI, trained, kept), moved)


def test_the_teacher_is_not_pulled_towards_the_student() -> None:
    """alpha = 1 with p = 1/4: head rows that only p_max reads get CE's gradient alone, as in plain training of one
    step."""
    start = MINI.initial(np.random.default_rng(1))
    settings = TrainingSettings(epochs=1, batch_size=64, learning_rate=0.1, optimizer="sgd")
    plain = Compression(Params(), sparsity=0.0, rounds=1)
    fit = Trainer(MINI, plain, settings, 1, lambda _: np.random.default_rng(7)).fit
    taught, alone = (fit(start, images(), o).weights for o in (dropout((0.25,)), CrossEntropy()))
    head = MINI.prunable.index(MINI.head[0])
    of_student = channels.masks_of(MINI, prefixes(MINI, 0.25))[head]
    kernel, other = MINI.head_of(taught)[0], MINI.head_of(alone)[0]
    np.testing.assert_allclose(kernel[~of_student], other[~of_student], atol=1e-6)
    assert np.abs(kernel[of_student] - other[of_student]).max() > 1e-4


def test_widths_are_drawn_uniformly_and_by_the_generator_alone() -> None:
    """12,000 draws of 4 widths: 3,000 each, standard deviation 47."""
    (drawn,) = dropout((0.25, 0.5, 0.75, 1.0)).per_step(12_000, np.random.default_rng(5))
    counts = np.bincount(drawn, minlength=4)
    assert np.abs(counts - 3000).max() < 150
    (again,) = dropout((0.25, 0.5, 0.75, 1.0)).per_step(12_000, np.random.default_rng(5))
    np.testing.assert_array_equal(drawn, again)


def test_a_client_draws_from_the_widths_up_to_its_own() -> None:
    made = experiment(federation("fjord"))
    found = {}
    for name, group in made.groups.items():
        client = made.client(group.clients[0], 1, "train", {})
        found[name] = client.objective([]).widths
    assert found == {"large": (0.25, 0.5, 1.0), "half": (0.25, 0.5), "small": (0.25,)}


def replies_of(made: Any, values: dict[str, float], present: dict[str, list[int]] | None = None) -> list[Reply]:
    """One reply of each group whose weights are all one value, where it holds them."""
    replies = []
    for name, value in values.items():
        group = made.groups[name]
        mask = group.compression.window(group.model, 0)
        payload: dict[str, Arrays] = {"weights": [np.full(a.shape, value, np.float32) for a in group.model.template]}
        if mask:
            payload["mask"] = mask
        if present:
            payload["classes"] = [np.isin(np.arange(10), present[name])]
        replies.append(Reply(made.clients[group.clients[0]], payload, {}, {}))
    return replies


def test_heterofl_averages_over_the_clients_that_hold_a_weight() -> None:
    """Values 1, 2, 6 of widths 1, 1/2, 1/4; channel 0 is everybody's: 3, channel 1 of two: 1.5, the others of one: 1.
    Of the head, class 0 is everybody's, class 1 of the first and the last client, class 2 nobody's."""
    made = experiment(federation("heterofl"))
    (spec,) = made.models.values()
    present = {"large": [0, 1], "half": [0], "small": [0, 1]}
    replies = replies_of(made, {"large": 1.0, "half": 2.0, "small": 6.0}, present)
    old = [np.full(a.shape, -1.0, np.float32) for a in spec.template]
    kernel, bias, second, *_ = new = made.server.aggregate("mini-cnn", replies, old)
    assert kernel[0, 0, 0].tolist() == bias.tolist() == [3.0, 1.5, 1.0, 1.0]
    assert second[0, 0].tolist() == [[3.0, 1.5, 1, 1], [1.5, 1.5, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]
    head, head_bias = spec.head_of(new)
    assert head[:4, :3].tolist() == [[3.0, 3.5, -1.0], [1.5, 1.0, -1.0], [1.0, 1.0, -1.0], [1.0, 1.0, -1.0]]
    assert head_bias[:4].tolist() == [3.0, 3.5, -1.0, -1.0]


def test_heterofl_counts_each_client_once_unless_told_otherwise() -> None:
    every = {name: list(range(10)) for name in WIDTHS}
    for by_examples in (False, True):
        made = experiment(federation("heterofl"), server__params__by_examples=by_examples)
        replies = replies_of(made, {"large": 1.0, "half": 2.0, "small": 6.0}, every)
        n = [reply.client.examples for reply in replies] if by_examples else [1, 1, 1]
        (spec,) = made.models.values()
        new = made.server.aggregate("mini-cnn", replies, spec.template)
        assert len(set(n)) > by_examples
        assert new[0][0, 0, 0, 0] == pytest.approx(np.average([1.0, 2.0, 6.0], weights=n))


@pytest.mark.parametrize("method", ["fjord", "fedrolex"])
def test_the_others_average_over_holders_by_examples(method: str) -> None:
    made = experiment(federation(method))
    (spec,) = made.models.values()
    replies = replies_of(made, {"large": 1.0, "half": 2.0, "small": 6.0})
    one, two, three = (float(reply.client.examples) for reply in replies)
    kernel = made.server.aggregate("mini-cnn", replies, spec.template)[0][0, 0, 0]
    of_all, of_two = (one + 2 * two + 6 * three) / (one + two + three), (one + 2 * two) / (one + two)
    assert kernel.tolist() == pytest.approx([of_all, of_two, 1.0, 1.0])


@pytest.mark.parametrize("method", METHODS)
def test_a_federation_sends_slices_and_learns(method: str, tmp_path: Path) -> None:
    """After three rounds the smallest deployed model and the global one are ahead of their start, which is near chance,
    by 20 points at least. What crosses and what is deployed is the slice."""
    made = experiment(federation(method))
    summary, directory, _ = run(made, tmp_path / "run")
    assert {row["status"] for row in directory.rows("clients")} == {"ok"}
    (spec,) = made.models.values()
    test = made.data.test_examples
    start = made.initial_weights(spec)
    before = evaluate(spec, start, test).accuracy
    assert summary["accuracy"] > before + 0.2
    half = summary["groups"]["half"]
    assert half["deployed_accuracy"] > before + 0.2
    # 4 and 4 channels of 3x3 and 16 features: 40 + 148 + 170; of 2 and 2: 20 + 38 + 90; of 1 and 1: 10 + 10 + 50.
    assert [summary["groups"][name]["parameters"] for name in WIDTHS] == [358, 148, 70]
    sent = {}
    for row in directory.rows("ledger"):
        if row["round"] == 3 and row["content"] == "weights" and row["direction"] == "uplink":
            sent[made.clients[row["client"]].group] = row["wire_bytes"]
    assert sent["small"] < sent["half"] < 0.6 * sent["large"]


def test_what_a_device_runs_is_the_slice(tmp_path: Path) -> None:
    """On 8x8: convolutions of stride 2 to 4x4 and 2x2, so 16 x 9 x 4 + 4 x 9 x 4 x 4 + 16 x 10 multiply-adds; with half
    of the channels 288 + 144 + 80, with a fourth 144 + 36 + 40. TFLite files are those of the slices, too."""
    made = experiment(federation("heterofl"), evaluation__tflite=True)
    missing: list[str] = []
    costs = export_models(made, made.server.initial(None) | {"masks": masks_of_all(made)}, tmp_path, missing)
    assert [costs[name]["multiply_adds"] for name in WIDTHS] == [1312, 512, 220]
    assert missing == []
    large, half, small = (int(costs[name]["tflite_bytes"] or 0) for name in WIDTHS)
    assert large - half >= 4 * (358 - 148 - 20)
    assert half > small


def test_heterofl_deploys_a_slice_with_its_scaler() -> None:
    """Group "small" has width 1/4: what it runs is four times its slice of the global weights, but for the head."""
    for scaler, factor in ((True, 4), (False, 1)):
        made = experiment(federation("heterofl", params={"scaler": scaler}))
        state = made.server.initial(None) | {"masks": masks_of_all(made)}
        (whole,) = state["weights"].values()
        small = made.server.deployed(state, made.clients[made.groups["small"].clients[0]])
        np.testing.assert_array_equal(small[0][..., 0], factor * whole[0][..., 0])
        assert not small[0][..., 1:].any()
        np.testing.assert_array_equal(small[-2][0], whole[-2][0])


def test_a_client_is_measured_with_its_scaler(tmp_path: Path) -> None:
    """What a client's row says of its model on its own data is what folded weights do, as small as what is sent."""
    made = experiment(federation("heterofl", compression_params={"width": 0.25}), evaluation__clients_every=1, rounds=1)
    _, directory, _ = run(made, tmp_path / "scaled")
    plain = experiment(federation("heterofl", compression_params={"width": 0.25}, params={"scaler": False}), rounds=1)
    _, unscaled, _ = run(plain, tmp_path / "plain")
    sizes = [[row["compressed_bytes"] for row in d.rows("clients")] for d in (directory, unscaled)]
    assert np.mean(sizes[0]) == pytest.approx(np.mean(sizes[1]), rel=0.1)
    client = made.client(0, 1, "train", {})
    (spec,) = made.models.values()
    weights = made.initial_weights(spec)
    np.testing.assert_array_equal(client.as_run(weights)[0], 4 * weights[0])
    np.testing.assert_array_equal(client.as_run(weights)[-2], weights[-2])


def masks_of_all(made: Any) -> dict[str, Any]:
    """As the state holds them once each client has replied."""
    windows = {name: group.compression.window(group.model, 0) for name, group in made.groups.items()}
    return {
        str(client.partition): masking.pack(windows[client.group]) for client in made.clients if windows[client.group]
    }


def test_masks_cross_once_where_they_stay(tmp_path: Path) -> None:
    """After the first exchange a slice of the first channels is named by eight bytes and a few for the stream."""
    _, directory, _ = run(experiment(federation("fjord")), tmp_path / "run")
    masks = [row for row in directory.rows("ledger") if row["content"] == "mask"]
    assert {row["direction"] for row in masks} == {"uplink", "downlink"}
    assert all(row["wire_bytes"] <= 16 for row in masks if row["round"] > 1 or row["direction"] == "uplink")


def test_fedrolex_evaluates_what_only_earlier_rounds_have_trained(tmp_path: Path) -> None:
    """With every group at a fourth, what nobody holds in the last round is still in the global model; a client deploys
    the window of the last round, here channel 2 of each layer."""
    table = federation("fedrolex", compression_params={"width": 0.25})
    made = experiment(table)
    state, server = made.server.initial(None), made.server
    masks = {name: server._choose(group, 3, state) for name, group in made.groups.items()}
    assert all(np.flatnonzero(k).tolist() == [2] for k in channels.kept_of(MINI, masks["small"]))
    replies = replies_of(made, {"small": 1.0})
    state = server.aggregated(None, {**state, "server_masks": masks}, replies)
    group = made.groups["small"]
    assert np.count_nonzero(server.global_model(state, group)[0]) == 36
    assert np.count_nonzero(server.deployed(state, replies[0].client)[0]) == 9


@pytest.mark.parametrize("method", METHODS)
def test_same_bits_on_threads_and_after_an_interruption(method: str, tmp_path: Path) -> None:
    made = experiment(federation(method))
    once = outcome(made, tmp_path / "once")
    assert outcome(made, tmp_path / "threads", Options(workers=2)) == once
    with pytest.raises(KeyboardInterrupt):
        outcome(made, tmp_path / "resumed", observer=Breaks())
    assert outcome(made, tmp_path / "resumed") == once
    assert outcome(experiment(federation(method), seed=2), tmp_path / "other") != once


@pytest.mark.slow
def test_same_bits_on_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    made = experiment(federation("fjord"))
    on_ray = outcome(made, tmp_path / "ray", Options("ray", 2, plugins=(PLUGINS,)))
    assert on_ray == outcome(made, tmp_path / "once")


@pytest.mark.parametrize(
    ("method", "key", "value", "problem"),
    [
        ("fedrolex", "compression", "none", "strategy 'fedrolex' gives each group a width, received 'none'; use"),
        ("heterofl", "compression", "none", "client 'heterofl' trains at a width, received 'none'; use compression ="),
        ("fjord", "compression", "none", "client 'fjord' trains at a width, received 'none'; use compression = "),
        ("fedrolex", "compression_params", {}, "width"),
        ("heterofl", "compression_params.width", 1.5, "less than or equal to 1"),
        ("heterofl", "client", "sgd", "averages what clients of its own train, received 'sgd'; use client = \"het"),
        ("fjord", "client", "sgd", "averages what clients of its own train, received 'sgd'; use client = \"fjord\"."),
        ("fjord", "params.widths", [0.2, 1.0], "received 0.2, 1; expected the group's own width, 0.25, among"),
        ("fjord", "params", {}, "received 0.2, 0.4, 0.6, 0.8, 1, the default; expected the group's own width, 0.25"),
        ("fjord", "params", {}, "among them; use params.widths = [0.2, 0.25]."),
        ("fedrolex", "sparsity", 0.5, "received 0.5, but compression 'slice' goes by its width; leave sparsity out."),
    ],
)
def test_what_does_not_go_together_is_refused(method: str, key: str, value: Any, problem: str) -> None:
    table = federation(method)
    *section, last = key.split(".")
    small = table["groups"][-1]
    (small[section[0]] if section else small)[last] = value
    if key == "compression":
        small.pop("compression_params")
    if key == "client":
        small["params"] = {}
    with pytest.raises(InputError) as error:
        experiment(table)
    assert problem in str(error.value)
    assert "groups.small" in str(error.value)


@pytest.mark.parametrize("method", ["heterofl", "fedrolex"])
def test_clients_that_cannot_train_on_from_a_tier_do_not(method: str) -> None:
    table = federation(method)
    server = {"strategy": method, "params": {"tiers": "kd", "tier_start": "tier"}}
    made = experiment({**table, "server": server, "public": {"source": "holdout", "examples": 64}})
    with pytest.raises(InputError, match='tier_start: received "tier", but clients of this strategy cannot train on'):
        made.check_models()


def test_a_global_model_that_nobody_has_whole_is_not_scored_without_the_scaler() -> None:
    """Where somebody has all channels there is a factor of 1; where nobody has, none at all has to be asked for."""
    experiment(federation("heterofl")).check_models()
    narrow = {"compression_params": {"width": 0.25}}
    experiment(federation("heterofl", **narrow, params={"scaler": False})).check_models()
    with pytest.raises(InputError) as error:
        experiment(federation("heterofl", **narrow)).check_models()
    assert str(error.value) == (
        "groups.model: no client has all channels of 'mini-cnn', so that its global model would be scored without the "
        "scaler; give one group width 1, or params.scaler = false."
    )
