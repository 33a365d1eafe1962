"""Public data: drawn alike on both ends, and nobody's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcompress.distillation.source import kept_rows
from fedcompress.errors import InputError
from federating import experiment

RECIPE = {"seed": [np.array([5], np.int64)]}


def with_public(source: str, **more: Any) -> Any:
    return experiment({"public": {"source": source, "examples": 300, **more}})


def test_holdout_is_kept_out_of_everything_else() -> None:
    made = with_public("holdout")
    data = made.data
    others = [data.server_validation, *data.train_parts, *data.validation_parts]
    assert len(data.public) == 300
    assert not set(data.public) & set(np.concatenate(others))
    assert len(np.unique(np.concatenate([data.public, *others]))) == len(data.dataset.y_train)
    drawn = made.public.draw(RECIPE)
    assert {x.tobytes() for x in drawn.x} == {x.tobytes() for x in data.public_inputs}
    assert not drawn.y.any()  # labels are not looked at


def test_all_labelled_examples_are_there() -> None:
    made = with_public("holdout")
    dataset = made.data.dataset
    known = {x.tobytes(): y for x, y in zip(dataset.x_train, dataset.y_train, strict=True)}
    drawn = made.public.labelled(RECIPE)
    assert np.array_equal(drawn.x, made.data.public_inputs)
    assert drawn.y.tolist() == [known[x.tobytes()] for x in drawn.x]
    assert len(set(drawn.y.tolist())) == 10


def test_labels_of_another_data_set_are_its_own() -> None:
    public = with_public("dataset:mnist-5k").public
    drawn = public.labelled(RECIPE)
    known = {x.tobytes(): y for x, y in zip(public.pool, public.pool_labels, strict=True)}
    assert len(drawn) == len(public.pool) > len(public.draw(RECIPE)) == 300
    assert drawn.y.tolist() == [known[x.tobytes()] for x in drawn.x]


def test_noise_has_no_labels() -> None:
    with pytest.raises(InputError, match="received 'noise', whose examples have no labels"):
        with_public("noise").public.labelled(RECIPE)


@pytest.mark.parametrize("source", ["noise", "dataset:mnist-5k", "gan"])
def test_the_same_recipe_gives_the_same_examples_on_every_end(source: str) -> None:
    drawn = []
    for _ in range(2):
        public = with_public(source).public
        recipe: dict[str, Any] = dict(RECIPE)
        if public.gan is not None:
            recipe["generator"] = public.gan.initial(np.random.default_rng(1)).generator
        drawn.append(public.draw(recipe))
        other = public.draw({**recipe, "seed": [np.array([6], np.int64)]})
        assert not np.array_equal(other.x, drawn[0].x)
    assert np.array_equal(drawn[0].x, drawn[1].x)
    assert drawn[0].x.shape == (300, 28, 28, 1)
    assert drawn[0].x.dtype == np.uint8


def test_a_generator_is_asked_for_as_many_of_each_class() -> None:
    public = with_public("gan").public
    generator = public.gan.initial(np.random.default_rng(1)).generator
    assert np.bincount(public.draw({**RECIPE, "generator": generator}).y).tolist() == [30] * 10


def test_which_rows_are_kept_travels_as_bits() -> None:
    kept = np.random.default_rng(0).random(37) < 0.5
    assert np.array_equal(kept_rows({"kept": [np.packbits(kept)]}, 37), np.flatnonzero(kept))
    assert np.array_equal(kept_rows({}, 4), np.arange(4))


@pytest.mark.parametrize(
    ("public", "said"),
    [
        ({"source": "dataset:digits"}, r"'dataset:digits' has examples of 8x8x1, the federation's are 28x28x1"),
        ({"source": "dataset:mnist5k"}, r"public.source: .*mnist5k.*mnist-5k"),
        ({"source": "holdout", "examples": 10**6}, r"public.examples: received 1000000, but only"),
        ({"source": "images"}, r"public.source: received 'images'"),
    ],
)
def test_sources_that_cannot_be(public: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        experiment({"public": public})
