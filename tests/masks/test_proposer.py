"""A proposer keeps what was asked for, in any network, and trusts no file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from fedcompress.errors import InputError
from fedcompress.masks.drawing import kept_of, largest
from fedcompress.masks.features import FEATURES, Described
from fedcompress.masks.head import HIDDEN, head_shapes
from fedcompress.masks.proposer import NOISE, Proposer, noise_of, read_proposer, shapes, shift

RNG = np.random.default_rng(0)
NETWORK = Described((4, 3, 12), RNG.standard_normal((19, len(FEATURES))).astype(np.float32))


def proposer(**about: Any) -> Proposer:
    rng = np.random.default_rng(1)
    weights, head = (
        {name: rng.standard_normal(shape).astype(np.float32) / 4 for name, shape in part.items()}
        for part in (shapes(), head_shapes())
    )
    return Proposer(weights, head, np.zeros(len(FEATURES)), np.ones(len(FEATURES)), about)


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.8])
def test_probabilities_sum_up_to_what_was_asked_and_draws_keep_it(sparsity: float) -> None:
    made, kept = proposer(), round((1 - sparsity) * 19)
    assert made.probabilities(NETWORK, sparsity, np.zeros((3, NOISE))).sum() == pytest.approx(kept)
    draws = [made.draw(NETWORK, sparsity, np.random.default_rng(seed)) for seed in range(20)]
    assert {int(mask.sum()) for mask in draws} == {kept}
    assert all(of_layer.any() for mask in draws for of_layer in NETWORK.kept(mask))
    assert len({mask.tobytes() for mask in draws}) > 1
    again = made.draw(NETWORK, sparsity, np.random.default_rng(3))
    assert again.tobytes() == draws[3].tobytes()


def test_a_draw_is_the_try_of_which_the_head_foretells_most() -> None:
    """A head that counts what the widest layer keeps, and a generator without a preference: 10 stay, 2 by the floor."""
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes().items()}
    head = {name: np.zeros(shape, np.float32) for name, shape in head_shapes().items()}
    head["layer"][-3, 0] = head["network"][HIDDEN, 0] = head["part"][0, 0] = 1.0
    made = Proposer(weights, head, np.zeros(len(FEATURES)), np.ones(len(FEATURES)), {})

    def widest(tries: int) -> int:
        mask = made.draw(NETWORK, 0.5, np.random.default_rng(1), tries=tries)
        assert mask.sum() == 10
        return max(int(k.sum()) for k in NETWORK.kept(mask))

    assert widest(1) < 8
    assert widest(200) == 8


def test_the_order_of_a_layers_channels_says_nothing() -> None:
    order = np.concatenate([np.arange(7), 7 + np.random.default_rng(2).permutation(12)])
    mixed = Described(NETWORK.widths, NETWORK.features[order])
    found = proposer().probabilities(NETWORK, 0.5, np.zeros((3, NOISE)))
    assert proposer().probabilities(mixed, 0.5, np.zeros((3, NOISE))) == pytest.approx(found[order])


def test_shift_and_floor_by_hand() -> None:
    """Logits 0 and 0 with one to keep need no shift. Of 5 4 | 3 | 2 1, three are kept: with a floor one of each."""
    assert shift(np.zeros(2), 1) == pytest.approx(0, abs=1e-9)
    network = Described((2, 1, 2), np.zeros((5, len(FEATURES)), np.float32))
    values = np.array([5.0, 4, 3, 2, 1])
    assert largest(values, network, 3, 0).tolist() == [True, True, True, False, False]
    assert largest(values, network, 3, 1).tolist() == [True, False, True, True, False]
    noise = noise_of(network, np.random.default_rng(0))
    assert (noise[0, : NOISE // 2] == noise[2, : NOISE // 2]).all()
    assert (noise[0, NOISE // 2 :] != noise[2, NOISE // 2 :]).all()


def test_a_floor_without_room_is_refused() -> None:
    assert kept_of((4, 3, 12), 0.8, 1) == 4
    with pytest.raises(InputError, match=r"keeps 2, but floor = 1 keeps 3 in 3 layers; the most is 0\.8421"):
        kept_of((4, 3, 12), 0.9, 1)


def test_it_is_a_small_file_that_says_the_same_when_it_is_read(tmp_path: Path) -> None:
    made = proposer(networks=3)
    (tmp_path / "proposer").write_bytes(made.written())
    assert len(made.written()) < 100_000
    again = read_proposer(tmp_path / "proposer")
    zeros = np.zeros((3, NOISE))
    assert np.array_equal(again.probabilities(NETWORK, 0.5, zeros), made.probabilities(NETWORK, 0.5, zeros))
    masks = np.eye(19, dtype=bool)
    assert np.array_equal(again.foretold(NETWORK, 0.5, masks), made.foretold(NETWORK, 0.5, masks))
    assert again.about == {"networks": 3}


def test_what_is_no_proposer_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "proposer"
    with pytest.raises(InputError, match="there is no such file"):
        read_proposer(path)
    path.write_text("something else")
    with pytest.raises(InputError, match="cannot be read"):
        read_proposer(path)
    with ZipFile(path, "w") as archive, archive.open("mean.npy", "w") as member:  # says more than it has
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with pytest.raises(InputError, match="by its header 8,000,000,000,000"):
        read_proposer(path)
    about = {"version": 1, "features": FEATURES}
    np.savez(tmp_path / "other", about=np.array(json.dumps(about)))
    with pytest.raises(InputError, match="is of version 1, expected version 2"):
        read_proposer(tmp_path / "other.npz")
    np.savez(tmp_path / "empty", about=np.array(json.dumps({**about, "version": 2})))
    with pytest.raises(InputError, match="'weight channel' are damaged"):
        read_proposer(tmp_path / "empty.npz")
