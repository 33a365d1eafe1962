"""The language of `--fail-if`: comparisons of figures, such as `deployed_worst < 0.9`. Nothing else can be said.

    condition   either {"or" either}
    either      denied {"and" denied}
    denied      ["not"] comparison
    comparison  sum [("<" | "<=" | ">" | ">=" | "==" | "!=") sum]
    sum         product {("+" | "-") product}
    product     signed {("*" | "/") signed}
    signed      ["-"] (number [unit] | figure | "baseline" | "(" condition ")")
    unit        "%" | "kB" | "MB" | "GB"
    figure      ["baseline."] NAME ["." PART]

`baseline` alone is the baseline's mean of the figure that the comparison is about. A NAME may hold any signs, as names
of groups do (`deployed_accuracy.my-watch`): of those that a text begins with, the longest counts. What could be a PART
is one.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan

from fedcompress.errors import InputError, suggestion
from fedcompress.units import shortened

PARTS = ("mean", "std", "low", "high", "difference", "difference_low", "difference_high")
"""What follows a figure's name after a dot; the mean over seeds if nothing does."""
DEEPEST = 50
"""Parentheses inside each other, at most."""

SHOWN, SHOWN_TOKEN = 200, 40
"""Characters of a condition, and of a part of it, that a message quotes."""

_TOKEN = r"\s*(?:{figures}(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|([A-Za-z_][\w.]*)|(<=|>=|==|!=|[-+*/()<>%]))"
_PLAIN = re.compile(r"[A-Za-z_][\w.]*")
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_SUM: Mapping[str, Callable[[float, float], float]] = {"+": operator.add, "-": operator.sub}
_PRODUCT: Mapping[str, Callable[[float, float], float]] = {"*": operator.mul, "/": operator.truediv}
_UNITS = {"%": 0.01, "kB": 1e3, "MB": 1e6, "GB": 1e9}
_WORDS = ("and", "or", "not", "baseline", *_UNITS)


@dataclass(frozen=True)
class Name:
    """A figure that a condition mentions.

    Attributes:
        figure: For example "accuracy".
        part: One of `PARTS`.
        baseline: Whether the baseline's is meant.
    """

    figure: str
    part: str = "mean"
    baseline: bool = False

    def __str__(self) -> str:
        prefix, part = "baseline." if self.baseline else "", "" if self.part == "mean" else f".{self.part}"
        return f"{prefix}{self.figure}{part}"


Lookup = Callable[[Name], float]


@dataclass
class _Node:
    """Something with a value: a number, or a truth; `names` are the figures in it, `open` its bare baselines."""

    value: Callable[[Lookup], float]
    truth: bool = False
    names: tuple[Name, ...] = ()
    open: tuple[_Baseline, ...] = ()


@dataclass
class _Baseline:
    """A bare `baseline`, until it is known which figure it stands for."""

    name: Name | None = None

    def __call__(self, lookup: Lookup) -> float:
        assert self.name is not None
        return lookup(self.name)


def _named_in(nodes: Iterable[_Node]) -> tuple[Name, ...]:
    """Returns the figures in some nodes, each once."""
    return tuple(dict.fromkeys(name for node in nodes for name in node.names))


class Condition:
    """A condition on figures of a variant and of the baseline.

    Args:
        text: What the user wrote.
        figures: Names that are known.

    Raises:
        InputError: It cannot be read, or names a figure that there is not.
    """

    def __init__(self, text: str, figures: Iterable[str]) -> None:
        self.text = text
        self._figures = tuple(figures)
        self._tokens, self._at, self._depth = self._split(), 0, 0
        node = self._condition()
        if self._at < len(self._tokens):
            raise self._problem(f"did not expect {shortened(self._tokens[self._at], SHOWN_TOKEN)!r}")
        if not node.truth:
            raise self._problem("is a number, not a comparison")
        if not node.names:
            raise self._problem("names no figure")
        self._value = node.value
        self.names: Sequence[Name] = tuple(dict.fromkeys(node.names))

    def holds(self, lookup: Lookup) -> bool:
        """Says whether it holds, given the values of the figures."""
        try:
            return bool(self._value(lookup))
        except ZeroDivisionError:
            raise self._problem("divides by zero") from None

    def _split(self) -> list[str]:
        tokens, at, text, token = [], 0, self.text.rstrip(), _token(self._figures)
        while at < len(text):
            match = token.match(text, at)
            if match is None:
                raise self._problem(f"did not expect {text[at:].strip()[:1]!r}")
            tokens.append(match[0].strip())
            at = match.end()
        return tokens

    def _problem(self, what: str) -> InputError:
        example = "expected a comparison, for example 'deployed_accuracy < baseline - 0.01'"
        return InputError(f"--fail-if {self.shown}: {what}; {example}.")

    @property
    def shown(self) -> str:
        """The text as messages quote it: without its middle if it is long."""
        return repr(shortened(self.text, SHOWN))

    def _next(self, *wanted: str) -> str | None:
        """Takes the next token if it is one of those wanted."""
        if self._at < len(self._tokens) and self._tokens[self._at] in wanted:
            self._at += 1
            return self._tokens[self._at - 1]
        return None

    def _condition(self) -> _Node:
        return self._joined("or", lambda: self._joined("and", self._denied))

    def _joined(self, word: str, part: Callable[[], _Node]) -> _Node:
        nodes = [part()]
        while self._next(word):
            nodes.append(part())
        if len(nodes) == 1:
            return nodes[0]
        truths, combine = list(map(self._truth, nodes)), any if word == "or" else all
        return _Node(lambda lookup: combine(node.value(lookup) for node in truths), True, _named_in(truths))

    def _denied(self) -> _Node:
        if not self._next("not"):
            return self._comparison()
        node = self._truth(self._comparison())
        return _Node(lambda lookup: not node.value(lookup), True, node.names)

    def _comparison(self) -> _Node:
        left = self._sum()
        if not (sign := self._next(*_COMPARE)):
            return left
        left, right = self._number(left), self._number(self._sum())
        compare, names, opened = _COMPARE[sign], left.names + right.names, left.open + right.open
        if opened:
            about = {Name(name.figure, baseline=True) for name in names}
            if len(about) != 1:
                raise self._problem("'baseline' alone goes with one figure; write baseline.FIGURE")
            names += tuple(about)
            for baseline in opened:
                (baseline.name,) = about

        def compared(lookup: Lookup) -> bool:
            values = left.value(lookup), right.value(lookup)
            if any(map(isnan, values)):
                raise InputError(
                    f"--fail-if {self.shown}: has no value where a target was reached by neither of two variants; "
                    "compare what each took with a number."
                )
            return bool(compare(*values))

        return _Node(compared, True, names)

    def _sum(self) -> _Node:
        return self._chain(_SUM, lambda: self._chain(_PRODUCT, self._signed))

    def _chain(self, signs: Mapping[str, Callable[[float, float], float]], part: Callable[[], _Node]) -> _Node:
        nodes, calculations = [part()], []
        while sign := self._next(*signs):
            calculations.append(signs[sign])
            nodes.append(part())
        if not calculations:
            return nodes[0]
        first, *others = map(self._number, nodes)

        def value(lookup: Lookup) -> float:
            """From the left, in a loop: a nested call for each term would have an end."""
            result = first.value(lookup)
            for calculate, node in zip(calculations, others, strict=True):
                result = calculate(result, node.value(lookup))
            return result

        return _Node(value, False, _named_in(nodes), tuple(baseline for node in nodes for baseline in node.open))

    def _signed(self) -> _Node:
        if self._next("-"):
            node = self._number(self._operand())
            return _Node(lambda lookup: -node.value(lookup), False, node.names, node.open)
        return self._operand()

    def _operand(self) -> _Node:
        if self._next("("):
            self._depth += 1
            if self._depth > DEEPEST:
                raise self._problem("has too many parentheses")
            node = self._condition()
            if not self._next(")"):
                raise self._problem("lacks a closing parenthesis")
            self._depth -= 1
            return node
        if self._at == len(self._tokens):
            raise self._problem("ends too early" if self._tokens else "is empty")
        token = self._tokens[self._at]
        self._at += 1
        if token[0].isdigit() or token[0] == ".":
            number = float(token) * _UNITS.get(self._next(*_UNITS) or "", 1.0)
            if not isfinite(number):
                raise self._problem(f"{shortened(token, SHOWN_TOKEN)} is too large a number")
            return _Node(lambda _: number)
        if token == "baseline":
            baseline = _Baseline()
            return _Node(baseline, open=(baseline,))
        if token in _WORDS or not (token[0].isalpha() or token[0] == "_"):
            raise self._problem(f"did not expect {shortened(token, SHOWN_TOKEN)!r}")
        name = self._named(token)
        return _Node(lambda lookup: lookup(name), names=(name,))

    def _named(self, token: str) -> Name:
        text = token.removeprefix("baseline.")
        baseline = text != token
        figure, _, part = text.rpartition(".")
        if figure in self._figures and part in PARTS:
            return Name(figure, part, baseline)
        if text in self._figures:
            return Name(text, "mean", baseline)
        prefix, first = f"--fail-if {self.shown}", text.partition(".")[0]
        if first not in self._figures:
            known = suggestion(first, self._figures)
            raise InputError(f"{prefix}: unknown column {shortened(first, SHOWN_TOKEN)!r}.{known}")
        rest = text.removeprefix(f"{first}.")
        groups = [name.removeprefix(f"{first}.") for name in self._figures if name.startswith(f"{first}.")]
        known = suggestion(rest, [*groups, *PARTS])
        what = "no such part or group" if groups else "no such part"
        raise InputError(f"{prefix}: {shortened(token, SHOWN_TOKEN)!r} has {what}.{known}")

    def _number(self, node: _Node) -> _Node:
        if node.truth:
            raise self._problem("calculates with a comparison")
        return node

    def _truth(self, node: _Node) -> _Node:
        if not node.truth:
            raise self._problem("joins what is no comparison")
        return node


def _token(figures: Sequence[str]) -> re.Pattern[str]:
    """Returns what a text is split by: first of all, names of figures that hold more than words and dots."""
    odd = sorted((name for name in figures if not _PLAIN.fullmatch(name)), key=len, reverse=True)
    names = "|".join(map(re.escape, odd))
    named = rf"((?:baseline\.)?(?:{names})(?:\.(?:{'|'.join(PARTS)})\b)?(?!\w))|" if odd else ""
    return re.compile(_TOKEN.format(figures=named))
