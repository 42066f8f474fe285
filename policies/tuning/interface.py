"""What a tuning policy sees and may ask for, and what a searcher is.

A *step* is one unit of the resource of a trial, an epoch say. A *score* is the metric turned so
that more is better; what failed or is no number scores minus infinity. A policy says how far
which trial goes, a searcher what a new trial tries.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

FAILED = -math.inf
T = TypeVar("T")


@dataclass(slots=True)
class Trial:
    """One trial, as far as it was paid for.

    `grace` is how far its first work went, or goes. `best` has the best score within the first 1,
    2, … steps. `busy`: a lane works on it.
    """

    grace: int
    best: list[float] = field(default_factory=list)
    busy: bool = False

    @property
    def reached(self) -> int:
        """Steps that are done."""
        return len(self.best)

    @property
    def score(self) -> float:
        """The best score so far."""
        return self.best[-1] if self.best else FAILED

    def report(self, scores: Sequence[float]) -> None:
        """Take in the scores of the next steps; what is no number is the worst."""
        for score in scores:
            known = FAILED if math.isnan(score) else score
            self.best.append(max(known, self.best[-1]) if self.best else known)


class State(NamedTuple):
    """A study with a free lane. `trials` in the order in which they were started.

    A whole trial has `most` steps. `reported` is the trial whose end freed the lane, None at the
    start. `may_start`: there is something new to try. `warm`: earlier studies name what is tried,
    so that the first few are not as good as any.
    """

    trials: Sequence[Trial]
    most: int
    reported: int | None = None
    may_start: bool = True
    warm: bool = False


class Step(NamedTuple):
    """A trial is to be carried on `until` so many steps; None: a new one."""

    trial: int | None
    until: int
    reason: str


class Policy(Protocol):
    """Stateless: the same state, the same step."""

    def decide(self, state: State) -> Step | None:
        """What the free lane does next; None: nothing until another trial reports."""
        ...


class Searcher(Protocol[T]):
    """Proposes what to try, and hears what came of it."""

    def ask(self) -> T | None:
        """The next point; None where everything was tried."""
        ...

    def tell(self, point: T, best: Sequence[float]) -> None:
        """The point's best score after 1, 2, … steps; again, when it went further."""
        ...


def rungs(grace: int, eta: int, most: int) -> list[int]:
    """Where a trial is looked at: grace·η^j below `most`, and `most`."""
    found, at = [], grace
    while at < most:
        found.append(at)
        at *= eta
    return [*found, most]
