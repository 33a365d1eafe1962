"""What `--fail-if` understands, and what it refuses."""

from __future__ import annotations

import math

import pytest

from fedcompress.errors import InputError
from fedcompress.results.compare.condition import Condition, Name

FIGURES = ("accuracy", "loss", "uplink_bytes")
VALUES = {
    "accuracy": 0.80,
    "accuracy.low": 0.78,
    "accuracy.difference_high": -0.01,
    "baseline.accuracy": 0.85,
    "baseline.accuracy.low": 0.84,
    "loss": 0.5,
    "baseline.loss": 0.4,
    "uplink_bytes": 2e6,
    "baseline.uplink_bytes": 1e6,
}


def lookup(name: Name) -> float:
    return VALUES[str(name)]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("accuracy < baseline - 0.01", True),
        ("accuracy < baseline - 0.06", False),
        ("accuracy<baseline-1%", True),
        ("baseline - 0.01 > accuracy", True),
        ("accuracy < 0.8", False),
        ("accuracy <= .8", True),
        ("accuracy.low < baseline - 6%", True),  # the baseline's mean
        ("accuracy.low < baseline.accuracy.low - 6%", False),
        ("accuracy < baseline.accuracy.low - 0.05", False),
        ("accuracy.difference_high < 0", True),
        ("uplink_bytes > 1.9 MB", True),
        ("uplink_bytes > 1900 kB and uplink_bytes < 1e-3 GB * 2.1", True),
        ("uplink_bytes / baseline > 1.9", True),
        ("uplink_bytes > 2 * baseline", False),
        ("not accuracy < 0.5", True),
        ("accuracy < 0.5 or loss > baseline", True),
        ("accuracy > 0.5 or loss > 1 and loss < 0", True),  # "and" binds closer
        ("(accuracy > 0.5 or loss > 1) and loss < 0", False),
        ("(accuracy - baseline.accuracy) * 2 < -0.09", True),
        ("loss * 0 + 1 - 0.5 - 0.25 == 0.25", True),  # from the left
        ("accuracy != accuracy", False),
        ("-(loss) < 0", True),
    ],
)
def test_conditions(text: str, holds: bool) -> None:
    assert Condition(text, FIGURES).holds(lookup) is holds


@pytest.mark.parametrize("text", ["loss - baseline > 3", "loss / baseline > 3", "not loss - baseline > 3"])
def test_what_neither_of_two_reached_is_not_compared_in_silence(text: str) -> None:
    with pytest.raises(InputError, match="has no value where a target was reached by neither of two variants"):
        Condition(text, FIGURES).holds(lambda _: math.inf)


TERMS = 1000


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("accuracy < " + " + ".join(["0.001"] * TERMS), True),  # 0.8 < 1
        ("accuracy < baseline" + " - 0.0001" * TERMS, False),  # 0.8 < 0.85 - 0.1
        ("accuracy > " + "0.5 * " * TERMS + "1", True),
        (" or ".join(["accuracy < 0.1"] * TERMS + ["loss == 0.5"]), True),
        (" and ".join(["accuracy > 0.1"] * TERMS + ["loss < baseline"]), False),
        (" + ".join(["accuracy"] * TERMS) + " < 900 and loss > baseline", True),  # 800 < 900
        (" + ".join(["baseline"] * 9000) + " > accuracy", True),
        ("(" * 50 + "accuracy" + ")" * 50 + " < 1", True),
        ("accuracy < 1e308", True),
    ],
)
def test_long_conditions_have_an_answer(text: str, holds: bool) -> None:
    assert Condition(text, FIGURES).holds(lookup) is holds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(" * 5000 + "accuracy" + ")" * 5000 + " < 1", "has too many parentheses"),
        ("accuracy < " + "9" * 5000, f"{'9' * 19}…{'9' * 20} is too large a number"),
        ("accuracy < 1e999 kB", "1e999 is too large a number"),
        ("accuracy < 1e308 GB", "1e308 is too large a number"),
        ("accuracy < " + "- " * 5000 + "1", "did not expect '-'"),
        ("not " * 5000 + "accuracy < 1", "did not expect 'not'"),
        ("accuracy < 1 and " * 5000 + "loss", "joins what is no comparison"),
        ("accuracy < 1 " * 5000, "did not expect 'accuracy'"),
        ("x" * 5000 + " < 1", f"unknown column '{'x' * 19}…{'x' * 20}'"),
    ],
)
def test_what_is_too_much_is_one_short_message(text: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        Condition(text, FIGURES)
    assert message in str(raised.value)
    assert len(str(raised.value)) < 500


def test_names() -> None:
    names = Condition("accuracy < baseline and loss.high > 1", FIGURES).names
    assert names == (Name("accuracy"), Name("accuracy", baseline=True), Name("loss", "high"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("accuracy", "is a number, not a comparison"),
        ("accuracy <", "ends too early"),
        ("accuracy < baseline -", "ends too early"),
        ("(accuracy < 1", "lacks a closing parenthesis"),
        ("accuracy < 1)", "did not expect ')'"),
        ("accuracy < 1 < 2", "did not expect '<'"),
        ("1 < 2", "names no figure"),
        ("accuracy = 1", "did not expect '='"),
        ("accuracy < 'a'", 'did not expect "\'"'),
        ("accuracy < or", "did not expect 'or'"),
        ("(accuracy < 1) + 1 < 3", "calculates with a comparison"),
        ("accuracy and loss < 1", "joins what is no comparison"),
        ("accuracy < baseline + loss", "'baseline' alone goes with one figure"),
        ("baseline < 1", "'baseline' alone goes with one figure"),
        ("accuracy / 0 < 1", "divides by zero"),
        ("(" * 60 + "accuracy < 1" + ")" * 60, "has too many parentheses"),
        ("acuracy < 1", "unknown column 'acuracy'. Did you mean 'accuracy'?"),
        ("baseline.los < 1", "unknown column 'los'. Did you mean 'loss'?"),
        ("accuracy.median < 1", "'accuracy.median' has no such part. Did you mean 'mean'?"),
        ("accuracy.mean.low < 1", "has no such part"),
        ("__import__('os').system('true') < 1", 'did not expect "\'"'),
        ("accuracy.__class__ < 1", "has no such part"),
        ("not " * 3 + "accuracy < 1", "did not expect 'not'"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Condition(text, FIGURES).holds(lookup)
    (problem,) = caught.value.problems
    assert problem.startswith(f"--fail-if {text!r}: ")
    assert message in problem
