"""How a run is carried out: numbers that no engine can work with are refused before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedcompress.errors import InputError
from fedcompress.options import Options
from fedcompress.sweep.side_by_side import within_a_worker

EXPECTED = "; expected 0, or 0.0001 to 10000, whole above 1."


@pytest.mark.parametrize("value", ["nan", "inf", "1e308", "10001", "1.5", "0.00001"])
@pytest.mark.parametrize("option", ["--cpus-per-worker", "--gpus-per-worker"])
def test_an_amount_that_ray_cannot_set_aside(
    call: Callable[..., Any], tiny_file: Path, option: str, value: str
) -> None:
    done = call("run", tiny_file, "--engine", "ray", option, value, "--out", "out")
    assert (done.code, done.err) == (2, f"error: {option}: received {float(value):g}{EXPECTED}\n")
    assert not Path("out").exists()


def test_a_sweep_is_refused_before_its_directory_is_made(
    call: Callable[..., Any], tiny_file: Path, tmp_path: Path
) -> None:
    with tiny_file.open("a") as file:
        file.write("\n[sweep]\nseeds = [1, 2]\n")
    done = call("run", tiny_file, "--engine", "ray", "--cpus-per-worker", "nan", "--out", "out")
    assert (done.code, done.err) == (2, f"error: --cpus-per-worker: received nan{EXPECTED}\n")
    assert not Path("out").exists()


@pytest.mark.parametrize("workers", [0, -1, 10_001, 10**30])
def test_a_number_of_workers_that_is_a_slip(workers: int) -> None:
    with pytest.raises(InputError) as error:
        Options(workers=workers).check()
    assert str(error.value) == f"--workers: received {workers}; expected 1 to 10000."


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(InputError) as error:
        Options("ray", 0, cpus_per_worker=-1.0, gpus_per_worker=float("nan")).check()
    assert [problem.partition(":")[0] for problem in error.value.problems] == [
        "--workers",
        "--cpus-per-worker",
        "--gpus-per-worker",
    ]


@pytest.mark.parametrize("amount", [0.0, 0.0001, 1 / 3, 0.5, 1.0, 2.0, 10_000.0])
def test_amounts_that_ray_can_set_aside(amount: float) -> None:
    Options("ray", 10_000, cpus_per_worker=amount, gpus_per_worker=amount).check()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("plugins", [1], "options.json: lacks plugins; expected what a run writes there."),
        ("plugins", ["a", None], "options.json: lacks plugins; expected what a run writes there."),
        ("cpus_per_worker", 10**400, f"--cpus-per-worker: received 1{'0' * 39}{EXPECTED}"),
        ("gpus_per_worker", -(10**400), f"--gpus-per-worker: received -1{'0' * 38}{EXPECTED}"),
    ],
)
def test_damaged_options_are_one_clear_error(key: str, value: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        Options.of(Options().table() | {key: value}, "options.json").check()
    assert str(error.value) == message


def test_gpus_are_for_ray_alone() -> None:
    with pytest.raises(InputError) as error:
        Options(gpus_per_worker=1.0).check()
    assert str(error.value) == (
        "--gpus-per-worker: received 1 with engine inline, which reserves nothing; use --engine ray, or leave it out."
    )


def test_a_run_of_a_sweep_side_by_side_reserves_no_gpu_of_its_own() -> None:
    """Its worker has reserved one: `gpus_per_worker` with an engine inline would be refused."""
    options = within_a_worker(Options("ray", 2, gpus_per_worker=1.0))
    options.check()
    assert options == Options()
