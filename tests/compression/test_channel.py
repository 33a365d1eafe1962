"""Which channels go: scores against numbers worked out by hand, floors, nesting, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcompress import keras
from fedcompress.compression import masks as masking
from fedcompress.compression.kinds.channel import Channel, ChannelParams
from fedcompress.data.federated import Examples
from fedcompress.errors import InputError
from fedcompress.masks.features import FEATURES, describe
from fedcompress.masks.head import head_shapes
from fedcompress.masks.proposer import Proposer, shapes
from fedcompress.masks.proposing import proposed, restricted
from fedcompress.masks.ranking import by_layer, check_sparsity, lamp, prefix_kept, reached, removal_order, scores
from fedcompress.models import channels
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.models.architectures.lenet5 import LeNet5
from fedcompress.models.architectures.mini_cnn import MiniCNN
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.training.trainer import Trainer

SPEC = ModelSpec("lenet5", LeNet5(), (28, 28, 1), 10)
MINI = ModelSpec("mini-cnn", MiniCNN(), (28, 28, 1), 10)


def channel(sparsity: float, rounds: int = 1, spec: ModelSpec = SPEC, **params: object) -> Channel:
    made = Channel(ChannelParams(schedule="constant", begin_round=0, **params), sparsity=sparsity, rounds=rounds)
    made.check(spec)
    return made


def test_l1_is_a_mean() -> None:
    """A dense layer of 400 inputs and a convolution of 25 weights are judged by the size of one weight."""
    weights = [np.full(a.shape, 2.0 if i == 0 else -3.0) for i, a in enumerate(SPEC.template)]
    weights[0][..., 1] = 0.5
    found = scores(SPEC, weights, "l1", np.random.default_rng(0))
    assert found[0].tolist() == [2.0, 0.5, 2.0, 2.0, 2.0, 2.0]
    assert set(found[2]) == {3.0}


def test_lamp_by_hand() -> None:
    """Squares 4, 1, 3: 4/4, 1/(1+3+4), 3/(3+4)."""
    assert lamp(np.array([4.0, 1.0, 3.0])).tolist() == [1.0, 1 / 8, 3 / 7]
    assert lamp(np.zeros(2)).tolist() == [0.0, 0.0]


def test_lamp_empties_no_layer() -> None:
    """The largest channel of each layer has score 1, so 5 of 226 stay before the first layer is emptied."""
    rng = np.random.default_rng(0)
    order = removal_order(scores(SPEC, SPEC.initial(rng), "lamp", rng), floor=0)
    kept = prefix_kept(SPEC, order, 1 - 4 / 226, "channels")
    assert [int(k.sum()) for k in kept] == [1, 1, 1, 1]


def test_a_floor_is_kept_and_the_lowest_go_first() -> None:
    ranked = [np.array([0.1, 0.2]), np.array([0.3, 0.05, 0.9])]
    assert removal_order(ranked, 1) == [(1, 1), (0, 0), (1, 0)]
    assert removal_order(ranked, 0) == [(1, 1), (0, 0), (0, 1), (1, 0), (1, 2)]
    assert removal_order([np.array([0.1, 0.2]), np.full(2, np.inf)], 0) == [(0, 0), (0, 1)]


def test_what_is_a_fraction_of_what() -> None:
    """Without 8 of 16 second maps: 8 of 226 channels; of 61,470 weights 6*25*8 made and 8*25*120 read."""
    kept = channels.whole(SPEC.channels)
    kept[1][:8] = False
    assert reached(SPEC, kept, "channels") == pytest.approx(8 / 226)
    assert reached(SPEC, kept, "weights") == pytest.approx((6 * 25 * 8 + 8 * 25 * 120) / 61_470)
    assert by_layer(SPEC, kept) == {"conv2d": 0.0, "conv2d_1": 0.5, "dense": 0.0, "dense_1": 0.0}
    masks = channels.masks_of(SPEC, kept)
    assert reached(SPEC, kept, "weights") == pytest.approx(1 - masking.density(masks))


@given(st.integers(0, 1000), st.floats(0.05, 0.75), st.floats(0.05, 0.75), st.sampled_from(["l1", "lamp", "random"]))
@settings(max_examples=20)
def test_masks_are_nested_and_reach_what_was_asked(seed: int, one: float, other: float, score: str) -> None:
    low, high = sorted([one, other])
    weights = MINI.initial(np.random.default_rng(seed))
    small, large = (
        channel(s, spec=MINI, score=score).choose(weights, MINI, 1, np.random.default_rng(seed)) for s in (high, low)
    )
    assert all((a <= b).all() for a, b in zip(small, large, strict=True))
    assert 1 - masking.density(small) >= high - 1e-9
    assert all(k.any() for k in channels.kept_of(MINI, small))


def test_layers_of_random_choices_without_a_floor_are_emptied_as_calculated() -> None:
    """LeNet-5, 90 % of 226 units at random: P(first layer empty) = C(220, 22) / C(226, 22) = 0.54, of 1,000 draws."""
    empty = 0
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        order = removal_order(scores(SPEC, SPEC.template, "random", rng), floor=0)
        removed = order[:204]
        empty += sum(layer == 0 for layer, _ in removed) == 6
    assert 0.48 < empty / 1000 < 0.60


def test_jitter_changes_the_order_a_little() -> None:
    weights = SPEC.initial(np.random.default_rng(0))
    plain, again, noisy = (
        removal_order(scores(SPEC, weights, "l1", np.random.default_rng(5), jitter), 1) for jitter in (0.0, 0.0, 0.1)
    )
    assert plain == again
    assert noisy != plain
    assert len(set(plain[:113]) & set(noisy[:113])) > 90


@pytest.mark.parametrize(("sparsity", "params"), [(0.99, {"count": "channels"}), (0.95, {"floor": 2, "spec": MINI})])
def test_a_sparsity_that_the_floor_forbids_is_refused(sparsity: float, params: dict) -> None:
    with pytest.raises(InputError, match=r"received sparsity .* with floor = \d the most is 0\.\d{4}"):
        channel(sparsity, **params)


def test_random_scores_are_drawn_by_the_server() -> None:
    with pytest.raises(ValueError, match='use mask = "server"'):
        ChannelParams(score="random", mask="client")


@pytest.mark.parametrize("chooser", ["server", "client"])
def test_training_keeps_channels_whoever_chose_them(chooser: str) -> None:
    rng = np.random.default_rng(0)
    data = Examples(rng.integers(0, 256, (40, 28, 28, 1), np.uint8), rng.integers(0, 10, 40).astype(np.int32))
    compression = channel(0.6, spec=MINI, mask=chooser)
    start = MINI.initial(rng)
    chosen = compression.choose(start, MINI, 1, rng)
    trainer = Trainer(MINI, compression, TrainingSettings(batch_size=8), 1, lambda purpose: np.random.default_rng(7))
    trained = trainer.fit(start, data, masks=chosen if chooser == "server" else None)
    assert all(np.array_equal(a, b) for a, b in zip(trained.masks, chosen, strict=True))
    assert masking.sparsity(trained.weights, MINI.prunable) == pytest.approx(1 - masking.density(chosen))
    small, weights = compression.deployed(MINI, trained.weights)
    assert sum(a.size for a in weights) < 0.45 * MINI.parameters
    assert len(trained.masks) == len(MINI.prunable)
    assert [layer.channels for layer in small.channels[:-1]] == [int(k.sum()) for k in channels.kept_of(MINI, chosen)]


class PartlyFrozen(Architecture):
    """Maps of three convolutions, of which only the second learns: a frozen one reads its channels, so they stay."""

    def features(self, inputs):  # type: ignore[no-untyped-def]
        layers = keras.layers
        x = layers.Conv2D(8, 3, activation="relu", trainable=False, name="before")(inputs)
        x = layers.BatchNormalization()(x)
        x = layers.Conv2D(4, 3, activation="relu", name="between")(x)
        x = layers.Conv2D(8, 3, activation="relu", trainable=False, name="after")(x)
        return layers.Flatten()(x)


FROZEN = ModelSpec("partly-frozen", PartlyFrozen(), (10, 10, 1), 10)


def test_channels_that_a_frozen_layer_reads_leave_less_room() -> None:
    """Of 8, 4 and 8 channels a floor of one leaves 14 to go; of the weights 3*3*8*4 and 4*4*8*10 all but an eighth."""
    check_sparsity(FROZEN, 0.7, 1, "channels")
    with pytest.raises(
        InputError, match=r"the most is 0\.7000: .*, and 'between' all, since a frozen layer reads them"
    ):
        check_sparsity(FROZEN, 0.75, 1, "channels")
    check_sparsity(FROZEN, 0.87, 1, "weights")
    with pytest.raises(InputError, match=r"received sparsity 0\.88 of its weights, .* the most is 0\.8750"):
        check_sparsity(FROZEN, 0.88, 1, "weights")


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("count", ["channels", "weights"])
def test_what_is_proposed_for_a_partly_frozen_network_is_what_its_smaller_model_has(nested: bool, count: str) -> None:
    rng = np.random.default_rng(1)
    weights, head = (
        {name: rng.standard_normal(shape).astype(np.float32) / 4 for name, shape in part.items()}
        for part in (shapes(), head_shapes())
    )
    proposer = Proposer(weights, head, np.zeros(len(FEATURES)), np.ones(len(FEATURES)), {})
    start = FROZEN.initial(rng)
    x, y = rng.integers(0, 256, (20, 10, 10, 1), np.uint8), np.arange(20, dtype=np.int32) % 10
    described = describe(FROZEN, start, x, y)
    for sparsity in (0.5, 0.7):
        kept = proposed(proposer, FROZEN, described, sparsity, rng, count=count, floor=1, nested=nested)
        assert kept[1].all()
        assert sparsity <= reached(FROZEN, kept, count) < sparsity + 0.1
        small, _ = channels.shrunk(FROZEN, restricted(FROZEN, start, kept))
        assert [tied.channels for tied in small.channels[:-1]] == [int(k.sum()) for k in kept]


def test_a_clients_frozen_mask_of_a_partly_frozen_network_stays() -> None:
    """What a frozen layer makes and nothing reads is gone; normalisation goes with it, what never changes does not."""
    made = channel(0.6, spec=FROZEN, mask="client", count="channels", freeze_round=1)
    masks = made.choose(FROZEN.initial(np.random.default_rng(0)), FROZEN, 1, np.random.default_rng(0))
    kept = channels.kept_of(FROZEN, masks)
    assert reached(FROZEN, kept, "channels") == pytest.approx(0.6)
    assert made.resumes(masks, FROZEN, 1)
    held = made.held(FROZEN, masks)
    first, between, last, _ = FROZEN.channels
    frozen_bias, *normalised = first.vectors
    assert frozen_bias not in held
    assert last.vectors[0] not in held
    assert [held[i].tolist() for i in normalised] == [kept[0].tolist()] * 4
    assert held[between.vectors[0]].all()
