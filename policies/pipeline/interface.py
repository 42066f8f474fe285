"""What a pipeline is to the optimiser: stages with ways to do them, and what lies between."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple


class Option(NamedTuple):
    """One way to do a stage. Its time is `fixed_s` and a log-normal rest, `mean_s` and `sd_s` in
    all; each second more costs `usd_per_s`.

    `score` is what is made small (cost, carbon or both), and counts beside time only where time is
    not the objective. A stage that follows on the same `machine` in the same `place` saves
    `setup_s`, `setup_usd` and `setup_score`.
    """

    mean_s: float
    sd_s: float
    cost_usd: float
    score: float
    fixed_s: float = 0.0
    usd_per_s: float = 0.0
    place: str = ""
    machine: str = ""
    setup_s: float = 0.0
    setup_usd: float = 0.0
    setup_score: float = 0.0


class Link(NamedTuple):
    """What one GB from a place to another costs, and how long it takes."""

    usd_per_gb: float
    s_per_gb: float


FREE = Link(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Stage:
    """`needs` are the places of the stages it waits for; `sends_gb` goes to each that waits for
    it.
    """

    name: str
    needs: tuple[int, ...]
    options: Sequence[Option]
    sends_gb: float = 0.0


@dataclass(frozen=True)
class Problem:
    """Stages in any order that is no circle, and the limits of the whole.

    `links` has the pairs of places between which traffic is not free. With `by_time` the expected
    duration is made small, and the score only where that is equal. A dollar of traffic counts
    `traffic_weight` in the score: nothing where that is carbon, of which traffic's is not known.
    """

    stages: Sequence[Stage]
    links: Mapping[tuple[str, str], Link] = field(default_factory=dict)
    deadline_s: float | None = None
    confidence: float = 0.9
    budget_usd: float | None = None
    by_time: bool = False
    traffic_weight: float = 1.0

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The stages, each after those it needs."""
        placed: dict[int, None] = {}
        while len(placed) < len(self.stages):
            ready = [
                number
                for number, stage in enumerate(self.stages)
                if number not in placed and all(before in placed for before in stage.needs)
            ]
            if not ready:
                raise ValueError("the stages wait for each other")
            placed.update(dict.fromkeys(ready))
        return tuple(placed)

    @cached_property
    def followers(self) -> tuple[tuple[int, ...], ...]:
        """Who waits for each stage."""
        found: list[list[int]] = [[] for _ in self.stages]
        for number, stage in enumerate(self.stages):
            for before in stage.needs:
                found[before].append(number)
        return tuple(map(tuple, found))

    @cached_property
    def chained(self) -> tuple[int | None, ...]:
        """For each stage the one whose machine it may go on with: the only one it needs, which
        nobody else needs. Any other machine might have to wait, and bills while it does.
        """
        return tuple(
            stage.needs[0]
            if len(stage.needs) == 1 and len(self.followers[stage.needs[0]]) == 1
            else None
            for stage in self.stages
        )

    def link(self, before: int, source: str, target: str) -> tuple[float, float]:
        """USD and seconds of what stage `before` sends from one place to another."""
        gb = self.stages[before].sends_gb
        link = self.links.get((source, target), FREE) if gb else FREE
        return gb * link.usd_per_gb, gb * link.s_per_gb


class Selection(NamedTuple):
    """The option of each stage by its number, and what follows from all together.

    `reuses[i]` tells whether stage i goes on with the machine of the stage before it.
    `cost_usd`, `score` and `duration_s` are expected; `chance` and `p90_usd` are of many simulated
    executions, `chance` None where there is no deadline. `sure_s` is what they do not exceed with
    the confidence asked for, and `sure_usd` the same of the cost.
    """

    picks: tuple[int, ...]
    reuses: tuple[bool, ...]
    cost_usd: float
    score: float
    duration_s: float
    sure_s: float
    sure_usd: float
    p90_usd: float
    chance: float | None


class Solution(NamedTuple):
    """The selection found, None where none keeps the limits.

    No selection that keeps them by the same reckoning scores less by more than the share `gap`;
    `timed_out` where time ran out before that was smaller. `least_deadline_s` and
    `least_budget_usd` say what would do where nothing does, each by itself beside the other limit
    (None: it would not help); `fastest` is then the quickest selection.
    """

    selection: Selection | None
    gap: float = math.inf
    timed_out: bool = False
    candidates: int = 0
    least_deadline_s: float | None = None
    least_budget_usd: float | None = None
    fastest: Selection | None = None
