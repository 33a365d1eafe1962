"""Members are recognised where a GAN has learned them by heart, and not where it never saw them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fedcompress.attacks.membership import Attack, Target, attack, nearest
from fedcompress.data.federated import Examples
from fedcompress.errors import InputError
from fedcompress.generators.spec import GanSpec
from fedcompress.generators.training import train
from tests import federating

SPEC = GanSpec("compact", (8, 8, 1), 10)


@cache
def learned() -> Target:
    """A GAN that has seen 100 digits 400 times; held out are 300 that it has not."""
    data = federating.experiment({"data": {"dataset": "digits", "clients": 2}}).data
    seen, rest = data.pooled(), data.test_examples
    members = Examples(seen.x[:100], seen.y[:100])
    rng = np.random.default_rng(1)
    gan = train(SPEC, SPEC.initial(rng), members, epochs=400, batch_size=32, rng=rng).gan
    return Target("digits", SPEC, [gan.generator], gan.discriminator, members, rest, 1)


def test_examples_that_were_learned_by_heart_are_recognised() -> None:
    found = attack(learned(), examples=100, samples=2000)
    assert set(found.aucs) == {"discriminator", "distance in pixels", "distance in features"}
    assert found.aucs["discriminator"].low > 0.6
    assert found.aucs["distance in pixels"].low > 0.5
    assert found == attack(learned(), examples=100, samples=2000)


def test_who_never_saw_the_data_recognises_nobody() -> None:
    """The same GAN, asked for others: neither set is known to it."""
    rest = learned().held_out
    half = len(rest) // 2
    found = attack(
        replace(
            learned(), members=Examples(rest.x[:half], rest.y[:half]), held_out=Examples(rest.x[half:], rest.y[half:])
        ),
        examples=150,
        samples=2000,
    )
    assert all(one.low <= 0.5 <= one.high for one in found.aucs.values()), found


def test_both_sets_have_the_same_number_of_each_class() -> None:
    found = attack(replace(learned(), discriminator=None), examples=50, samples=200)
    assert isinstance(found, Attack)
    assert 40 <= found.examples <= 50
    assert "discriminator" not in found.aucs


def test_too_few_examples_are_refused() -> None:
    target = learned()
    few = Examples(target.members.x[:10], target.members.y[:10])
    with pytest.raises(InputError, match=r"digits: \d+ members and held-out examples of the same classes; expected at"):
        attack(replace(target, members=few), examples=100, samples=200)


def test_the_nearest_sample_of_the_same_class() -> None:
    x, samples = np.array([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0]]), np.array([[0.0, 1.0], [0.0, 0.0], [0.1, 0.0]])
    distances = nearest(x, np.array([0, 1, 2]), samples, np.array([0, 1, 0]))
    assert distances == pytest.approx([0.1, 5.0, np.inf])
