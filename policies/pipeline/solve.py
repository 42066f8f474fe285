"""Problem -> Solution: the least score with the limits kept, proved to a gap; else what would do.

The programme bounds each path by mean + z · sd. No z is right for every pipeline: times are skewed,
and paths run side by side. So z is searched for, the least whose best selection keeps the limits in
enough simulated executions.
"""

import math
from collections.abc import Callable
from dataclasses import replace

from mlbroker.policies.pipeline.fronts import front
from mlbroker.policies.pipeline.interface import Option, Problem, Selection, Solution
from mlbroker.policies.pipeline.programme import Programme
from mlbroker.policies.pipeline.schedule import Simulator, keeps_limits, least_z, timetable
from mlbroker.policies.pipeline.swaps import Swaps

SECONDS = 30.0
_ROUNDS = 14
_TANGENT_ROUNDS = 60
# Below zero as well: the median of a skewed time is below its mean.
_LEAST_Z, _MOST_Z = -0.6, 8.0
# The search for z ends where no better selection is worth as much.
_ENOUGH = 5e-4
_LITTLE = 2e-4
# What breaks a limit by a larger part of it is not mended.
_FAR = 0.02
# Pipelines of so few choices are searched to the end, selection by selection.
_SMALL, _ONE_BY_ONE = 250, 100
# No z of a large pipeline may take more of the time than this share.
_SHARE = 0.2


def _never() -> float:
    return 0.0


def solve(
    problem: Problem, seconds: float = SECONDS, clock: Callable[[], float] = _never
) -> Solution:
    """The best selection found within `seconds` by the `clock`; see `Solution` where none is."""
    ends = clock() + seconds
    search = _Search(problem, lambda: ends - clock(), seconds * _SHARE)
    best = search.best()
    candidates = sum(map(len, search.programme.kept))
    quick = None
    if best is None and not problem.by_time:
        # The programme's bound may leave out the one that only just does.
        quick = _without(problem, clock, seconds, deadline=True)
        near = None if quick is None else search.simulator.selection(quick.picks)
        if near is not None and keeps_limits(problem, near):
            ends = clock() + seconds * _SHARE
            best = search.from_quickest(near)
    if best is not None:
        return Solution(best, search.gap, search.timed_out, candidates)
    if problem.by_time:
        return Solution(None, math.inf, search.timed_out, candidates)
    cheap = None
    if problem.budget_usd is not None:
        cheap = _without(problem, clock, seconds, deadline=False)
    return Solution(
        None, math.inf, search.timed_out, candidates,
        None if quick is None or problem.deadline_s is None else quick.sure_s,
        None if cheap is None else cheap.sure_usd,
        quick or _without(replace(problem, budget_usd=None), clock, seconds, deadline=True),
    )  # fmt: skip


def _without(
    problem: Problem, clock: Callable[[], float], seconds: float, *, deadline: bool
) -> Selection | None:
    """The quickest within the budget; or else the cheapest within the deadline."""
    if deadline:
        other = replace(problem, deadline_s=None, by_time=True)
    else:
        stages = [
            replace(stage, options=[_by_cost(option) for option in stage.options])
            for stage in problem.stages
        ]
        other = replace(problem, budget_usd=None, by_time=False, stages=stages, traffic_weight=1.0)
    return solve(other, seconds * _SHARE, clock).selection


def _by_cost(option: Option) -> Option:
    return option._replace(score=option.cost_usd, setup_score=option.setup_usd)


class _Search:
    def __init__(self, problem: Problem, left: Callable[[], float], share_s: float) -> None:
        self.problem = problem
        self.programme = Programme(problem, [front(problem, n) for n in range(len(problem.stages))])
        self.simulator = Simulator(problem)
        self._swaps = Swaps(problem, self.programme.kept, self.simulator)
        self.gap = math.inf
        self.timed_out = False
        self._left = left
        self._share_s = share_s
        # The best of what became of others by swaps, and which these were.
        self._swapped: Selection | None = None
        self._tried: set[tuple[int, ...]] = set()
        self._limited = problem.deadline_s is not None or problem.budget_usd is not None

    def best(self) -> Selection | None:
        """The best selection that keeps the limits."""
        best: Selection | None = None
        z, proved = self._first_z()
        # No z up to `low` does, `high` does.
        low, high, bound = -math.inf, math.inf, -math.inf
        small = self.programme.binaries <= _SMALL
        for _ in range(_ROUNDS):
            found = self._at(z)
            if found is None:
                high = min(high, z)
            else:
                selection, value, least = found
                if not self._limited or keeps_limits(self.problem, selection):
                    high = z
                    if best is None or self._value(selection) < self._value(best):
                        best, proved = selection, least
                        self.gap = _gap(value, least)
                else:
                    low, bound = z, max(bound, least)
            if not self._limited or self._left() <= 0 or z <= _LEAST_Z:
                break
            if best is not None and self._value(best) - bound <= _ENOUGH * abs(self._value(best)):
                break
            if high - low < (0.01 if small else 0.04) or low >= _MOST_Z:
                break
            z = self._next(z, low, high, None if found is None else found[0])
        if small and self._limited:
            best = self._one_by_one(best, max(low, _LEAST_Z))
        swapped = self._swapped
        if swapped is None or (best is not None and self._value(best) <= self._value(swapped)):
            return best
        self.gap = _gap(self._value(swapped), proved)
        return swapped

    def _first_z(self) -> tuple[float, float]:
        """The normal quantile; of a large pipeline, what its relaxed programme's choice needs, and
        that programme's value: at the quantile each path by itself is in time.
        """
        z = least_z(self.problem.confidence) if self._limited else 0.0
        if self.programme.binaries <= _SMALL:
            return z, -math.inf
        if not self._limited:
            if self.problem.by_time:
                # No programme is needed for one that is nearly the quickest.
                self._swapped = self.simulator.selection(self._quickest())
            return z, -math.inf
        near = self._tighten(z)
        if near is None:
            return z, -math.inf
        return min(max(self._own_z(near[0]), z * 0.8), z + 1.0), near[1]

    def _quickest(self) -> list[int]:
        """Each stage's quickest option by itself."""
        stages = zip(self.problem.stages, self.programme.kept, strict=True)
        return [min(kept, key=lambda k: stage.options[k].mean_s) for stage, kept in stages]

    def _value(self, selection: Selection) -> float:
        return selection.duration_s if self.problem.by_time else selection.score

    def _next(self, z: float, low: float, high: float, selection: Selection | None) -> float:
        """What the selection's own limits amount to; else half-way between what does and what does
        not.
        """
        own = z if selection is None else self._own_z(selection)
        if math.isinf(high):
            return min(max(own, z * 1.05 + 0.02), _MOST_Z)
        floor = max(low, _LEAST_Z)
        if math.isinf(low):
            return max(_LEAST_Z, min(own, z - 0.1, z * 0.9))
        margin = 0.1 * (high - floor)
        return own if floor + margin < own < high - margin else (floor + high) / 2

    def _own_z(self, selection: Selection) -> float:
        """By how many standard deviations of its longest path the selection's sure time is above
        the mean, or of its cost the sure cost.
        """
        problem = self.problem
        chosen = [s.options[p] for s, p in zip(problem.stages, selection.picks, strict=True)]
        found = 0.0
        if problem.deadline_s is not None:
            sd = math.hypot(*(chosen[n].sd_s for n in timetable(problem, chosen).critical))
            found = (selection.sure_s - selection.duration_s) / max(sd, 1e-9)
        if problem.budget_usd is not None:
            sd = math.hypot(*(option.usd_per_s * option.sd_s for option in chosen))
            found = max(found, (selection.sure_usd - selection.cost_usd) / max(sd, 1e-12))
        return found

    def _at(self, z: float) -> tuple[Selection, float, float] | None:
        """The best selection by the programme at `z`, its value, and the least there can be."""
        programme = self.programme
        large = programme.binaries > _SMALL
        if large and self._limited:
            near = self._tighten(z)
            if near is None:
                return None
            if self._is_far(near[0]):
                # A whole choice would not keep the limits either.
                return near[0], near[1], near[1]
            if self._swapped is not None and near[1] >= self._value(self._swapped):
                return None
        ends = self._left() - self._share_s

        def left() -> float:
            return max(min(self._left(), self._left() - ends), 0.0) if large else self._left()

        # Of a large one, what a tangent more would bring is left to the search for z.
        rounds = 1 if large else _TANGENT_ROUNDS
        while True:
            found = programme.solve(z, left)
            if found is None:
                self.timed_out = self.timed_out or left() <= 0
                return None
            self.timed_out = self.timed_out or not found.done
            rounds -= 1
            if not programme.learn(found, z) or self.timed_out or not rounds:
                picks = programme.picks(found)
                return self.simulator.selection(picks), found.value, found.bound

    def _tighten(self, z: float) -> tuple[Selection, float] | None:
        """Tangents of the relaxed programme until they bring little; what it then rounds to, and
        its value. None where even that programme has no solution.
        """
        before = -math.inf
        rounds = _TANGENT_ROUNDS
        while True:
            rounds -= 1
            found = self.programme.solve(z, self._left, whole=False)
            if found is None:
                return None
            if not self.programme.learn(found, z) or self._left() <= 0 or not rounds:
                break
            if found.value - before <= _LITTLE * abs(found.value):
                break
            before = found.value
        near = self.simulator.selection(self.programme.picks(found))
        if not self._is_far(near):
            self._try(near)
        return near, found.value

    def from_quickest(self, near: Selection) -> Selection:
        """What swaps make of the quickest selection, which keeps the limits, and costs most."""
        self._try(near)
        return self._swapped or near

    def _is_far(self, selection: Selection) -> bool:
        return self._swaps.over(selection.sure_s, selection.sure_usd) > _FAR

    def _try(self, near: Selection) -> None:
        """Keep it if it keeps the limits; with its options swapped until it does, by score."""
        if near.picks in self._tried:
            return
        self._tried.add(near.picks)
        found = near if keeps_limits(self.problem, near) else None
        if not self.problem.by_time:
            # The first one may be all that is found in time; others compete with the programme.
            ends = self._left() / 2
            if self._swapped is not None:
                ends = max(ends, self._left() - self._share_s / 4)
            found = self._swaps.bettered(near.picks, lambda: self._left() - ends) or found
        if found is None:
            return
        if self._swapped is None or self._value(found) < self._value(self._swapped):
            self._swapped = found

    def _one_by_one(self, best: Selection | None, z: float) -> Selection | None:
        """Selections in the order of their value at a z that is too small, until one keeps the
        limits or none is left below the best.
        """
        z -= 0.2 + 0.1 * abs(z)
        for _ in range(_ONE_BY_ONE):
            found = self._at(z)
            if found is None or self.timed_out:
                break
            if best is not None and found[1] >= self._value(best) * (1 - 1e-9):
                break
            if keeps_limits(self.problem, found[0]):
                self.gap = 0.0
                return found[0]
            self.programme.forbid(found[0].picks)
        return best


def _gap(value: float, least: float) -> float:
    return max(0.0, (value - least) / max(abs(value), 1e-12))
