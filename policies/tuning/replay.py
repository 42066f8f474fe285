"""A table of learning curves under one policy: what a study on it had cost, and how long."""

import heapq
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mlbroker.policies.tuning.interface import Policy, Searcher, State, Step, Trial

Watcher = Callable[[State, Step | None], None]


class Curves(NamedTuple):
    """One task: the score of each configuration after each step, and the seconds a step takes it.

    `scores[c][r - 1]` is of configuration c after r steps.
    """

    task: str
    configs: Sequence[str]
    scores: Sequence[Sequence[float]]
    step_s: Sequence[float]

    @property
    def most(self) -> int:
        """Steps of a whole trial."""
        return len(self.scores[0])

    def whole_s(self) -> float:
        """Seconds of a whole trial, mean over the configurations."""
        return self.most * math.fsum(self.step_s) / len(self.step_s)


class Studied(NamedTuple):
    """Worker-seconds and seconds until some trial reached the target, or until the cap."""

    cost_s: float
    time_s: float
    missed: bool
    trials: int


def play(
    curves: Curves,
    target: float,
    workers: int,
    cap_s: float,
    policy: Policy,
    searcher: Searcher[int],
    *,
    warm: bool = False,
    watch: Watcher | None = None,
) -> Studied:
    """A study until a step of some trial scores `target`; it starts no work beyond `cap_s`.

    The policy and the searcher see a score when the work up to it is done, never the target.
    `watch` hears every decision.
    """
    return _Play(curves, target, workers, cap_s, policy, searcher, warm, watch).to_the_end()


class _Play:
    def __init__(
        self,
        curves: Curves,
        target: float,
        workers: int,
        cap_s: float,
        policy: Policy,
        searcher: Searcher[int],
        warm: bool,
        watch: Watcher | None,
    ) -> None:
        self.curves, self.target, self.cap_s = curves, target, cap_s
        self.policy, self.searcher, self.warm, self.watch = policy, searcher, warm, watch
        self.free = workers
        self.trials: list[Trial] = []
        self.config: list[int] = []
        self.ends: list[tuple[float, int, int, int]] = []  # moment, number of work, trial, until
        self.works: list[tuple[float, float]] = []  # from, seconds
        self.now_s = self.given_s = 0.0
        self.hit_s = math.inf
        self.may_start = True
        self.reported: int | None = None

    def to_the_end(self) -> Studied:
        """From report to report."""
        while True:
            while self.free and self._give_work():
                pass
            if not self.ends or self.hit_s <= self.ends[0][0]:
                break
            self.now_s, _, number, until = heapq.heappop(self.ends)
            self._report(number, until)
        missed = self.hit_s == math.inf
        end_s = self.now_s if missed else self.hit_s
        cost_s = math.fsum(min(max(end_s - from_s, 0.0), span_s) for from_s, span_s in self.works)
        return Studied(cost_s, end_s, missed, len(self.trials))

    def _give_work(self) -> bool:
        step = self._decide()
        if step is not None and step.trial is None:
            point = self.searcher.ask()
            if point is None:
                self.may_start = False
                return self._give_work()
            self.trials.append(Trial(step.until))
            self.config.append(point)
            step = step._replace(trial=len(self.trials) - 1)
        if step is None or step.trial is None:
            return False
        trial, config = self.trials[step.trial], self.config[step.trial]
        span_s = (step.until - trial.reached) * self.curves.step_s[config]
        if self.given_s + span_s > self.cap_s:
            return False
        trial.busy = True
        self.free -= 1
        self.given_s += span_s
        self._look_ahead(trial.reached, step.until, config)
        self.works.append((self.now_s, span_s))
        heapq.heappush(self.ends, (self.now_s + span_s, len(self.works), step.trial, step.until))
        return True

    def _decide(self) -> Step | None:
        state = State(self.trials, self.curves.most, self.reported, self.may_start, self.warm)
        self.reported = None
        step = self.policy.decide(state)
        if self.watch is not None:
            self.watch(state, step)
        return step

    def _look_ahead(self, done: int, until: int, config: int) -> None:
        """When this work will reach the target: known to the clock alone."""
        for at, score in enumerate(self.curves.scores[config][done:until], 1):
            if score >= self.target:
                self.hit_s = min(self.hit_s, self.now_s + at * self.curves.step_s[config])
                return

    def _report(self, number: int, until: int) -> None:
        trial, config = self.trials[number], self.config[number]
        trial.report(self.curves.scores[config][trial.reached : until])
        trial.busy = False
        self.free += 1
        self.reported = number
        self.searcher.tell(config, trial.best)
