"""A selection bettered by one option after the other, held to simulated executions.

What bounds each path by mean + z · sd knows nothing of paths that run side by side; executions do.
While a limit is broken, that swap is made which gains most time for its score. Then each is made
that lowers the score and keeps the limits. Time is what a swap changes where its stage is on the
longest path of those executions that decide whether enough are in time.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.policies.pipeline.interface import Option, Problem, Selection
from mlbroker.policies.pipeline.schedule import Simulator, keeps_limits, sure_share

if TYPE_CHECKING:
    import numpy as np

# Swaps are tried on so many executions of stages in all; what comes of them is held to all.
_STAGES_RUN = 150_000
_LEAST_DRAWS, _MOST_DRAWS = 512, 4096
# Those decide whose rank is as near to the confidence as this.
_NEAR = 0.08
# A stage that is on no longest path may come to be: so much of its time counts all the same.
_ASIDE = 0.02
_ROUNDS = 4
_HAIR = 1e-9


class _Swap(NamedTuple):
    """`score` is what it adds, `seconds` by how much the whole is later."""

    stage: int
    pick: int
    score: float
    seconds: float


class _Few(Simulator):
    """Executions of which each option's times are kept."""

    def __init__(self, problem: Problem, draws: int) -> None:
        super().__init__(problem, draws=draws)
        self._known: dict[tuple[int, Option], np.ndarray] = {}

    def times(self, stage: int, option: Option) -> "np.ndarray":
        """As the simulator has them."""
        known = self._known.get((stage, option))
        if known is None:
            known = self._known[stage, option] = super().times(stage, option)
        return known


class Swaps:
    """Swaps of a problem's selections over the options `kept` of each stage."""

    def __init__(self, problem: Problem, kept: Sequence[Sequence[int]], every: Simulator) -> None:
        self._problem, self._kept, self._every = problem, kept, every
        draws = _STAGES_RUN // len(problem.stages)
        self._some = _Few(problem, min(max(draws, _LEAST_DRAWS), _MOST_DRAWS))
        # The part of the limits that the few executions have to keep.
        self._share = 1.0

    def bettered(self, picks: Sequence[int], left: Callable[[], float]) -> Selection | None:
        """One that keeps the limits, from one that may not; None where none is found in time."""
        now = list(picks)
        self._share = 1.0
        for _ in range(_ROUNDS):
            if not self._mend(now, left):
                return None
            self._cheapen(now, left)
            found = self._every.selection(now)
            if keeps_limits(self._problem, found):
                return found
            self._share *= 1 - max(self.over(found.sure_s, found.sure_usd), 1e-4)
        return None

    def _mend(self, now: list[int], left: Callable[[], float]) -> bool:
        """Swap until the limits are kept; False where no swap brings them nearer."""
        over = self._over_of(now)
        while over > 0:
            quicker = [swap for swap in self._swaps(now, aside=0.0) if swap.seconds < -_HAIR]
            quicker.sort(key=lambda swap: max(swap.score, _HAIR) / -swap.seconds)
            # Several at once as far as half of what is wanted, else one that brings anything.
            for swaps in (self._for_half(quicker, over), *([swap] for swap in quicker)):
                if left() <= 0:
                    return False
                trial = self._over_with(now, swaps)
                if trial < over - _HAIR:
                    over = trial
                    for swap in swaps:
                        now[swap.stage] = swap.pick
                    break
            else:
                return False
        return True

    def _for_half(self, swaps: Sequence[_Swap], over: float) -> list[_Swap]:
        """The first ones, of a stage each, that gain half of the time that is missing."""
        wanted_s = over / 2 * (self._problem.deadline_s or 0.0)
        found: dict[int, _Swap] = {}
        for swap in swaps:
            if sum(-each.seconds for each in found.values()) >= wanted_s:
                break
            found.setdefault(swap.stage, swap)
        return list(found.values())

    def _cheapen(self, now: list[int], left: Callable[[], float]) -> None:
        """Swap while anything saves and keeps the limits, first what delays least for it."""
        swapped = True
        while swapped:
            swapped = False
            saving = [swap for swap in self._swaps(now, _ASIDE) if swap.score < -_HAIR]
            saving.sort(key=lambda swap: max(swap.seconds, 0.0) / -swap.score)
            room_s = self._room_s(self._over_of(now))
            for swap in saving:
                # What was swapped beside it may have changed what it saves.
                if swap.seconds > room_s or self._adds(now, swap.stage, swap.pick) >= -_HAIR:
                    continue
                if left() <= 0:
                    return
                over = self._over_with(now, [swap])
                if over <= 0:
                    now[swap.stage], swapped, room_s = swap.pick, True, self._room_s(over)

    def _room_s(self, over: float) -> float:
        """More than a swap may delay the whole: what it does is known roughly."""
        deadline_s = self._problem.deadline_s
        return math.inf if deadline_s is None else 2 * -over * deadline_s + 1

    def _over_with(self, now: Sequence[int], swaps: Sequence[_Swap]) -> float:
        picks = list(now)
        for swap in swaps:
            picks[swap.stage] = swap.pick
        return self._over_of(picks)

    def _over_of(self, picks: Sequence[int]) -> float:
        found = self._some.course(self._chosen(picks))
        return self.over(self._sure(found.makespan), self._sure(found.usd), self._share)

    def over(self, sure_s: float, sure_usd: float, share: float = 1.0) -> float:
        """By which part of it a limit is broken; below zero where both are kept."""
        problem, over = self._problem, -1.0
        if problem.deadline_s is not None:
            over = max(over, sure_s / (problem.deadline_s * share) - 1)
        if problem.budget_usd is not None:
            over = max(over, sure_usd / (problem.budget_usd * share) - 1)
        return over

    def _sure(self, values: "np.ndarray") -> float:
        import numpy as np

        sure = sure_share(self._problem.confidence)
        return float(np.quantile(values, sure, method="higher"))

    def _chosen(self, picks: Sequence[int]) -> list[Option]:
        stages = self._problem.stages
        return [stage.options[pick] for stage, pick in zip(stages, picks, strict=True)]

    def _swaps(self, now: Sequence[int], aside: float) -> list[_Swap]:
        """All there are, with what they do to the executions that decide; where a stage is on no
        longest path the share `aside` of its time counts.
        """
        deciding, longest = self._longest(now)
        weights = longest + aside
        swaps = []
        for stage, kept in enumerate(self._kept):
            if not weights[stage].any():
                continue
            options = self._problem.stages[stage].options
            has = self._some.times(stage, options[now[stage]])[deciding]
            for pick in kept:
                if pick != now[stage]:
                    gets = self._some.times(stage, options[pick])[deciding]
                    seconds = float(((gets - has) * weights[stage]).mean())
                    score = 0.0
                    for each, (more, later_s) in self._changes(now, stage, pick).items():
                        score += more
                        seconds += later_s * float(weights[each].mean())
                    swaps.append(_Swap(stage, pick, score, seconds))
        return swaps

    def _longest(self, now: Sequence[int]) -> "tuple[np.ndarray, np.ndarray]":
        """The executions that decide, and which stages (rows) are on the longest path of each."""
        import numpy as np

        problem, chosen = self._problem, self._chosen(now)
        ran = self._some.course(chosen)
        ranks = np.argsort(ran.makespan)
        at, near = int(problem.confidence * len(ranks)), int(_NEAR * len(ranks))
        deciding = ranks[max(0, at - near) : at + near]
        on = np.zeros((len(chosen), len(deciding)), bool)
        last = np.argmax(np.stack([ends[deciding] for ends in ran.ends]), axis=0)
        on[last, np.arange(len(deciding))] = True
        for stage in reversed(problem.order):
            start = ran.starts[stage][deciding]
            for before in problem.stages[stage].needs:
                moved_s = problem.link(before, chosen[before].place, chosen[stage].place)[1]
                on[before] |= on[stage] & (ran.ends[before][deciding] + moved_s >= start)
        return deciding, on

    def _adds(self, now: Sequence[int], stage: int, pick: int) -> float:
        return sum(score for score, _ in self._changes(now, stage, pick).values())

    def _changes(self, now: Sequence[int], stage: int, pick: int) -> dict[int, tuple[float, float]]:
        """What a swap adds to the score of each stage that it touches, and to its fixed seconds."""
        found = {}
        for each in (stage, *self._problem.followers[stage]):
            mine = pick if each == stage else now[each]
            score, seconds = self._part(each, mine, now, {stage: pick})
            had, took_s = self._part(each, now[each], now, {})
            found[each] = score - had, seconds - took_s
        return found

    def _part(
        self, stage: int, pick: int, now: Sequence[int], swapped: Mapping[int, int]
    ) -> tuple[float, float]:
        """A stage's part of the score, and the seconds for what comes to it and of a machine that
        goes on.
        """
        problem = self._problem
        option = problem.stages[stage].options[pick]
        score, seconds = option.score, 0.0
        for before in problem.stages[stage].needs:
            other = problem.stages[before].options[swapped.get(before, now[before])]
            usd, moved_s = problem.link(before, other.place, option.place)
            score += problem.traffic_weight * usd
            seconds += moved_s
            if problem.chained[stage] == before and other.machine == option.machine != "":
                score -= option.setup_score
                seconds -= option.setup_s
        return score, seconds
