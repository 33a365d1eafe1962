"""Augmentation inside the graph: what happens to single images, draws that follow from the seed, and same digests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.experiment import Experiment
from fedcompress.launch import run_one
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.scenario import Scenario
from fedcompress.scenario.sections import AugmentationSettings
from fedcompress.training.augmentation import augmented, seeds
from tests.test_same_bits import Breaks, outcome


def applied(images: np.ndarray, seed: tuple[int, int] = (1, 2), **settings: Any) -> np.ndarray:
    section = AugmentationSettings(**settings)
    found: np.ndarray = augmented(keras.tf.constant(images), section, keras.tf.constant(seed)).numpy()
    return found


IMAGES = (np.arange(64 * 5 * 4 * 2, dtype=np.float32) + 1).reshape(64, 5, 4, 2)


def test_a_flip_mirrors_about_half_of_the_images() -> None:
    found = applied(IMAGES, flip=True)
    flipped = [np.array_equal(a, b[:, ::-1]) for a, b in zip(found, IMAGES, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(found, IMAGES, strict=True)]
    assert all(a != b for a, b in zip(flipped, same, strict=True))
    assert 20 < sum(flipped) < 44


def test_a_crop_is_a_window_of_the_image_in_its_border() -> None:
    """With 1 pixel there are nine windows; each image is one of them, and 64 images meet all."""
    bordered = np.pad(IMAGES, [(0, 0), (1, 1), (1, 1), (0, 0)])
    met = set()
    for image, whole in zip(applied(IMAGES, crop=1), bordered, strict=True):
        places = [(y, x) for y in range(3) for x in range(3) if np.array_equal(image, whole[y : y + 5, x : x + 4])]
        assert len(places) == 1
        met.add(places[0])
    assert len(met) == 9


def test_a_square_is_cut_out_around_a_pixel_and_may_reach_over_the_edge() -> None:
    found = applied(IMAGES, cutout=3)
    holes = {int((image[..., 0] == 0).sum()) for image in found}
    assert holes == {4, 6, 9}
    assert ((found == IMAGES) | (found == 0)).all()


def test_draws_follow_from_the_seed() -> None:
    all_of_it = {"crop": 2, "flip": True, "cutout": 2}
    assert np.array_equal(applied(IMAGES, **all_of_it), applied(IMAGES, **all_of_it))
    assert not np.array_equal(applied(IMAGES, **all_of_it), applied(IMAGES, (1, 3), **all_of_it))
    rng = np.random.default_rng(0)
    assert seeds(None, 3, rng) == []
    assert rng.random() == np.random.default_rng(0).random()
    assert [a.shape for a in seeds(AugmentationSettings(flip=True), 3, rng)] == [(3, 2)]


def residual(**changes: Any) -> Experiment:
    """A small ResNet with batch normalisation, augmented images, and channels pruned through its additions."""
    table = {
        "name": "residual",
        "rounds": 2,
        "data": {"dataset": "digits", "clients": 2, "examples": 64},
        "training": {"batch_size": 16},
        "augmentation": {"crop": 1, "flip": True, "cutout": 2},
        "evaluation": {"tflite": False},
        "groups": [
            {
                "name": "all",
                "model": "resnet-8:batch",
                "compression": "channel",
                "sparsity": 0.5,
                "compression_params": {"count": "channels", "schedule": "constant", "begin_round": 0},
            }
        ],
    }
    return Experiment.load(Scenario.parse({**table, **changes}), Plugins())


def test_same_digest_on_threads_and_after_an_interruption_and_another_without_augmentation(tmp_path: Path) -> None:
    one = outcome(residual(), tmp_path / "one")
    assert outcome(residual(), tmp_path / "two", Options(workers=2)) == one
    with pytest.raises(KeyboardInterrupt):
        outcome(residual(), tmp_path / "three", observer=Breaks())
    assert outcome(residual(), tmp_path / "three") == one
    assert outcome(residual(augmentation={}), tmp_path / "plain") != one


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed"])
@pytest.mark.parametrize("engine", ["ray", "superlink"])
def test_same_digest_elsewhere(engine: str, precision: str, tmp_path: Path) -> None:
    made = residual(training={"batch_size": 16, "precision": precision})
    one = outcome(made, tmp_path / "one")["all"]
    assert run_one(made.scenario, tmp_path / engine, Options(engine=engine, workers=2))["model_digest"] == one
