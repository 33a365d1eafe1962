"""The GAN learns what an archive has to teach, and its generator is the proposer's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.masks.features import FEATURES, Described
from fedcompress.masks.proposer import NOISE
from fedcompress.recipes.masks.adversarial import _Gan, _normalisation, _table, learn
from fedcompress.recipes.masks.graphs import discriminate, generate
from fedcompress.recipes.masks.settings import Learning, Source
from fedcompress.recipes.masks.trials import Network, Trial

SETTINGS = Learning(steps=20, batch=8)


def network(seed: int, widths: Sequence[int] = (6, 10)) -> Network:
    """A network whose retrained accuracy is the share of what is kept that has a positive first feature."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((sum(widths), len(FEATURES))).astype(np.float32)
    trials = []
    for _ in range(24):
        kept = rng.permutation(sum(widths))[: sum(widths) // 2]
        mask = np.isin(np.arange(sum(widths)), kept)
        trials.append(Trial("random", 0.5, mask, 0.1, float((features[kept, 0] > 0).mean())))
    return Network(Source("made", "up", seed), ("a", "b"), Described(tuple(widths), features), 1.0, 0.0, tuple(trials))


NETWORKS = [network(seed) for seed in range(5)] + [network(5, (4, 8))]


def test_the_same_archive_and_generator_give_the_same_proposer() -> None:
    made, curve = learn(NETWORKS, SETTINGS, np.random.default_rng(0))
    again, _ = learn(NETWORKS[::-1], SETTINGS, np.random.default_rng(0))  # as workers may have written them
    assert again.written() == made.written()
    assert curve[-1].step == SETTINGS.steps
    assert (len(made.about["learned"]), len(made.about["held_out"])) == (5, 1)


def test_the_graphs_generator_is_the_proposers() -> None:
    mean, deviation = _normalisation(NETWORKS, SETTINGS)
    table = _table(NETWORKS, SETTINGS, mean, deviation)
    gan = _Gan(table, SETTINGS, np.random.default_rng(0))
    proposer, _ = learn(NETWORKS, Learning(steps=1, batch=2), np.random.default_rng(0))
    made = type(proposer)(*gan.weights, mean, deviation, {})
    z = np.random.default_rng(1).standard_normal((6, 2, NOISE)).astype(np.float32)
    kept = np.array([8, 8, 8, 8, 8, 6], np.float32)
    mask, logits = generate(
        gan._g, table.features, table.member, np.full(6, 0.5, np.float32), kept, z, np.zeros((6, 16), np.float32)
    )
    assert mask.numpy().round().sum(axis=1).tolist() == kept.tolist()
    keep = keras.tf.sigmoid(logits)
    half = np.full(6, 0.5, np.float32)
    part = keras.tf.sigmoid(discriminate(gan._d, table.features, table.member, half, mask)[1]).numpy()
    for at, found in enumerate(NETWORKS):
        expected = made.probabilities(found.described, 0.5, z[at])
        assert keep.numpy()[at, : expected.size] == pytest.approx(expected, abs=1e-4)
        of_mask = mask.numpy()[at : at + 1, : expected.size].round().astype(bool)
        assert made.foretold(found.described, 0.5, of_mask) == pytest.approx(part[at : at + 1], abs=1e-4)
    assert keep.numpy()[5, 12:].tolist() == [0.0] * 4


def test_an_archive_of_one_network_is_refused() -> None:
    with pytest.raises(InputError, match="an archive of 1 network cannot train a proposer"):
        learn(NETWORKS[:1], SETTINGS, np.random.default_rng(0))


def test_one_network_at_least_is_learned_from() -> None:
    made, _ = learn(NETWORKS[:2], Learning(steps=1, batch=2, held_out=0.9), np.random.default_rng(0))
    assert (len(made.about["learned"]), len(made.about["held_out"])) == (1, 1)
