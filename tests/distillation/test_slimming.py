"""A slim generator in a federation: what crosses, what is written down of it, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.errors import InputError
from fedcompress.generators.packed import packed_arrays
from fedcompress.generators.slim_compact import on, sliced
from fedcompress.launch import run_one
from fedcompress.results.run.checkpoint import Checkpoints
from fedcompress.results.run.directory import RunDirectory
from fedcompress.scenario import Scenario
from federating import SLIM_GAN, TINY, experiment, run


def made(**overrides: Any) -> Any:
    return experiment(SLIM_GAN, **overrides)


@pytest.fixture(scope="module")
def slimmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], RunDirectory]:
    path = tmp_path_factory.mktemp("slim") / "run"
    return run_one(Scenario.parse({**TINY, **SLIM_GAN}), path), RunDirectory(path)


def test_channels_leave_for_good(slimmed: tuple[dict[str, Any], RunDirectory]) -> None:
    _, directory = slimmed
    rows, spec = directory.rows("rounds"), made().public.slim.spec
    generator = Checkpoints(directory).read().state["public"]["generator"]
    small, arrays = sliced(spec, list(generator))
    first, _, last = rows
    assert first["generator_channels"] == 24 + 48
    assert sum(small.widths) == last["generator_channels"] < 72
    assert last["generator_parameters"] == small.parameters < first["generator_parameters"] == spec.parameters
    assert last["generator_float_bytes"] == 4 * small.parameters
    assert last["generator_packed_bytes"] == len(packed_arrays(arrays, 8)) == small.parameters + 4 * len(arrays)


def test_what_is_left_is_what_crosses(slimmed: tuple[dict[str, Any], RunDirectory]) -> None:
    """A byte for each parameter and a scale of four for each array, which deflate makes fewer; and a mask."""
    _, directory = slimmed
    rows, ledger = directory.rows("rounds"), directory.rows("ledger")
    for row in rows:
        crossed = [t for t in ledger if t["round"] == row["round"] and t["content"].startswith("generator")]
        assert row["generator_bytes"] == sum(t["wire_bytes"] for t in crossed) > 0
    downlink = [t for t in ledger if t["direction"] == "downlink"]
    drawn = [t for t in downlink if t["content"] == "generator" and t["action"] == "predict"]
    left = {row["round"]: row["generator_packed_bytes"] for row in rows}
    assert drawn
    assert all(t["wire_bytes"] <= left[t["round"]] + 40 for t in drawn)
    masked = {(t["round"], t["action"]) for t in downlink if t["content"] == "generator mask"}
    slim = [row["round"] for row in rows if row["generator_channels"] < 72]
    expected = {(number + 1, "train_generator") for number in slim if number < len(rows)}
    drawing = {t["round"] for t in drawn}
    assert masked == expected | {(number, "predict") for number in slim if number in drawing}


def test_a_report_has_the_sizes_of_each_round(slimmed: tuple[dict[str, Any], RunDirectory]) -> None:
    summary, directory = slimmed
    last = directory.rows("rounds")[-1]
    assert summary["samples"]["generator_parameters"] == last["generator_parameters"]
    page = (directory.path / "report.html").read_text()
    assert "Slim generator of tiny, seed 1" in page
    assert f"<td>{last['generator_channels']:,.0f}</td><td>{last['generator_parameters']:,.0f}</td>" in "".join(
        line.strip() for line in page.splitlines()
    )


def test_the_same_model_with_any_number_of_workers(
    slimmed: tuple[dict[str, Any], RunDirectory], tmp_path: Path
) -> None:
    assert run(made(), tmp_path / "run", 2)[0]["model_digest"] == slimmed[0]["model_digest"]


def test_a_layer_that_has_lost_all_channels_is_an_event(tmp_path: Path) -> None:
    _, directory, _ = run(made(rounds=1, public__rho=100.0, public__slim_from=1), tmp_path / "run")
    (row,) = directory.rows("rounds")
    assert "a layer of the generator has no channel left at public.rho = 100; use a smaller rho" in row["events"]
    assert any(event.startswith("the generator has collapsed") for event in row["events"])


def test_it_is_slimmed_from_a_round_on() -> None:
    slim = made(public__slim_from=3, public__beta=2.0, public__rho=0.25).public.slim
    assert [(slim.pull(number).rho, slim.pull(number).beta) for number in (2, 3)] == [(0.0, 0.0), (0.25, 2.0)]


@pytest.mark.parametrize(("bits", "values"), [(4, "int4"), (8, "int8"), (32, "float32")])
def test_bits_say_how_it_crosses_whatever_other_contents_do(bits: int, values: str) -> None:
    setup = made(public__bits=bits, wire__values="float16")
    contents = setup.contents(setup.groups["all"])
    assert str(setup.wire.encoding("generator", contents["generator"]).values) == values
    assert str(setup.wire.encoding("discriminator", contents["discriminator"]).values) == "float16"
    slim = setup.public.slim
    start = slim.compressed(slim.spec.initial(np.random.default_rng(0)).generator)
    assert slim.mask(start) is None
    start[0].reshape(len(start[0]), -1, 24)[..., 3] = 0.0
    left = slim.mask(start)
    assert left is not None
    assert [int((~mask).sum()) for mask in left] == [42 * 4, 4, 16 * 48, 0, 0]
    assert not on(slim.spec, start)[0][3]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "bits of another generator": (
        {"public__gan": "compact", "public__rho": None, "public__slim_from": None, "public__bits": 8},
        'public.bits: is for gan = "slim", received gan = "compact"; use "slim", or leave it out.',
    ),
    "rho of another generator": (
        {"public__gan": "cgan", "public__slim_from": None},
        'public.rho: is for gan = "slim", received gan = "cgan"; use "slim", or leave it out.',
    ),
    "bits that nothing has": ({"public__bits": 5}, "public.bits: received 5, expected 4, 8 or 32"),
    "privacy": (
        {"privacy__epsilon": 1.0},
        'public.gan: received "slim" with [privacy], but a slim generator is trained without noise; use gan = '
        '"private", or public.source = "embedding".',
    ),
    "a wire of other bits": (
        {"public__bits": 4, "wire__generator__values": "int8"},
        'wire.generator.values: received "int8", but a slim generator crosses in the bits that it computes with, '
        'public.bits; expected "int4", or nothing.',
    ),
    "a dense wire": (
        {"wire__generator__codec": "dense"},
        'wire.generator.codec: received "dense", but channels that a slim generator has lost do not cross; leave it '
        "out.",
    ),
    "a client that trains none": (
        {"groups__all__client": "fedprox", "server__strategy": "feddf", "server__params": {}},
        "groups.all.client: strategy 'feddf' needs the action train_generator, which client 'fedprox' does not have",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_before_the_run(case: str) -> None:
    overrides, expected = WRONG[case]
    with pytest.raises(InputError) as raised:
        made(**overrides)
    assert any(expected in problem for problem in raised.value.problems), raised.value.problems


def test_a_strategy_that_draws_no_examples_is_refused() -> None:
    setup = made(server__strategy="fedavg", server__params={}, groups__all__client="sgd")
    with pytest.raises(InputError, match="strategy 'fedavg' draws no public examples as it is set"):
        setup.check_models()
