"""The privacy ledger of a run: what every client released, when and at what cost; one accountant for each client.

The server keeps it, since it knows what it asked for. What a client releases once is an event once: asked again, it
sends the same, or refuses, if it holds that no more; either costs nothing. A resumed run repeats the round that was cut
off: with noise of the seed that is the same release, with noise of the operating system a second one, which counts,
too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any

from fedcompress.privacy.accounting import Release, epsilon_of
from fedcompress.scenario.public import PrivacySettings

NOT_COVERED = (
    "models, what strategies send beside them, predictions, metrics and how many examples of which class there are"
)
"""What leaves clients beside releases, and no epsilon covers."""
SEEDED = "Simulated noise: keyed by the seed, it protects from nobody who knows the seed."
TOLERANCE = 1e-4
"""By which share of it a budget may be missed: that of the search for noise."""


def promise(settings: PrivacySettings) -> str:
    """Returns what an epsilon of these settings means, and what it does not cover, as a sentence or two."""
    of = {"example": "each example of a client", "client": "each client, who trusts the server that adds the noise"}
    text = (
        f"privacy: what clients release is ({settings.epsilon:g}, {settings.delta:g})-differentially private for "
        f"{of[settings.unit]}; {NOT_COVERED}: not private."
    )
    return f"{text} {SEEDED}" if settings.noise == "seed" else text


def told(privacy: Mapping[str, Any]) -> str:
    """Returns what `privacy` of a summary says, as a person reads it.

    Args:
        privacy: epsilon, None for an infinite one; with `[privacy]` also delta, unit and noise; not_covered.
    """
    if "delta" not in privacy:
        return f"no epsilon: {basis(privacy)}"
    epsilon = "infinite" if privacy["epsilon"] is None else f"{privacy['epsilon']:.3g}"
    return f"epsilon {epsilon} {basis(privacy)}"


def basis(privacy: Mapping[str, Any]) -> str:
    """Returns what an epsilon is of: at which delta, for which unit, by which noise, and what it does not cover."""
    rest = f"{privacy['not_covered']}: not private"
    if "delta" not in privacy:
        return f"releases have no noise; {rest}"
    of = "per example" if privacy["unit"] == "example" else "per client, by a trusted server"
    by_seed = "; simulated noise: keyed by the seed" if privacy["noise"] == "seed" else ""
    return f"at delta {privacy['delta']:g} {of}{by_seed}; {rest}"


class Accounts:
    """The accountants of all clients.

    Attributes:
        rows: Of `privacy.jsonl`, one for each release, in the order in which they were asked for.
        journal: Is given every row before the client is asked.

    Args:
        settings: `[privacy]`; without it, what is released has no noise, and so no epsilon.
    """

    def __init__(self, settings: PrivacySettings | None) -> None:
        self._settings = settings
        self.rows: list[dict[str, Any]] = []
        self.journal: Callable[[dict[str, Any]], None] | None = None
        self._releases: dict[int, list[Release]] = {}

    def add(self, round_number: int, client: int, release: Release) -> None:
        """Writes down what a client is asked to release in a round."""
        epsilon = self.epsilon(client, [release])
        self._releases.setdefault(client, []).append(release)
        numbers = {"noise": release.noise, "sampling": release.sampling, "steps": release.steps, "epsilon": epsilon}
        self.rows.append({"round": round_number, "client": client, "what": release.what, **numbers})
        if self.journal is not None:
            self.journal(self.rows[-1])

    def of(self, client: int) -> list[Release]:
        """Returns what a client has been asked to release so far."""
        return list(self._releases.get(client, []))

    def has(self, client: int, release: Release) -> bool:
        """Says whether a client has been asked for this in a round that was not cut off."""
        return any(row["client"] == client and _release(row) == release and not row.get("cut_off") for row in self.rows)

    def epsilon(self, client: int, more: Iterable[Release] = ()) -> float:
        """Returns what a client's releases cost together, and with `more` of them; infinite if one has no noise."""
        releases = [*self.of(client), *more]
        if any(release.noise == 0 for release in releases):
            return inf
        return epsilon_of(releases, self._settings.delta) if self._settings else 0.0

    def affords(self, client: int, release: Release) -> bool:
        """Says whether a client's budget allows another release; without `[privacy]` there is none to keep to."""
        if self._settings is None:
            return True
        return self.epsilon(client, [release]) <= self._settings.epsilon * (1.0 + TOLERANCE)

    @property
    def largest(self) -> float:
        """Epsilon of the client that has released most; 0 before the first release."""
        latest = {row["client"]: row["epsilon"] for row in self.rows}
        return max(latest.values(), default=0.0)

    def restore(self, rows: Iterable[Mapping[str, Any]], cut_off: Iterable[Mapping[str, Any]] = ()) -> None:
        """Goes on from the rows that a checkpoint holds.

        Args:
            rows: Of whole rounds.
            cut_off: Of a round that will be repeated with other noise; they count, and are marked in their rows.
        """
        self.rows = [*map(dict, rows), *({**row, "cut_off": True} for row in cut_off)]
        self._releases = {}
        for row in self.rows:
            self._releases.setdefault(row["client"], []).append(_release(row))


def _release(row: Mapping[str, Any]) -> Release:
    return Release(row["what"], row["noise"], row["sampling"], row["steps"])
