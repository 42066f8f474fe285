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
# What fits few executions best fits all less well: so much over the root of their number.
_SPARE = 0.05
# Those decide whose rank is above the confidence less this.
_NEAR = 0.08
# A stage that is on no longest path may come to be: so much of its time counts all the same.
_ASIDE = 0.02
# Of so many stages one is swapped at once while a limit is broken.
_ONE_OF = 60
_ROUNDS = 4
_HAIR = 1e-9


class _Swap(NamedTuple):
    """`score` is what it adds, `seconds` by how much the whole is later."""

    stage: int
    pick: int
    score: float
    seconds: float


class _Standing(NamedTuple):
    """By which part of it a limit is broken, below zero where both are kept; and by how much of
    them executions are beyond them, on the mean: every quicker swap makes that less.
    """

    over: float
    beyond: float


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
        self._draws = min(max(draws, _LEAST_DRAWS), _MOST_DRAWS)
        self._some = _Few(problem, self._draws)
        # The part of the limits that the few executions have to keep.
        self._share = 1.0

    def bettered(self, picks: Sequence[int], left: Callable[[], float]) -> Selection | None:
        """One that keeps the limits, from one that may not; None where none is found in time."""
        now = list(picks)
        self._share = 1 - _SPARE / math.sqrt(self._draws)
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
        stands = self._stands(now)
        vain: set[tuple[int, int]] = set()
        while stands.over > 0:
            quicker = [
                swap
                for swap in self._swaps(now, aside=0.0)
                if swap.seconds < -_HAIR and swap[:2] not in vain
            ]
            quicker.sort(key=lambda swap: max(swap.score, _HAIR) / -swap.seconds)
            # What several at once cost too much is saved again later.
            several = _first(quicker, max(1, len(now) // _ONE_OF))
            alone = quicker if len(several) > 1 else quicker[1:]
            for swaps in (several, *([swap] for swap in alone)):
                if left() <= 0:
                    return False
                trial = self._stands(_swapped(now, swaps))
                if trial.beyond < stands.beyond * (1 - _HAIR):
                    stands = trial
                    now[:] = _swapped(now, swaps)
                    break
                # What other swaps would make of it is not asked again.
                if len(swaps) == 1:
                    vain.add(swaps[0][:2])
            else:
                return False
        return True

    def _cheapen(self, now: list[int], left: Callable[[], float]) -> None:
        """Swap while anything saves and keeps the limits, first what delays least for it."""
        swapped = True
        while swapped:
            swapped = False
            saving = [swap for swap in self._swaps(now, _ASIDE) if swap.score < -_HAIR]
            saving.sort(key=lambda swap: max(swap.seconds, 0.0) / -swap.score)
            room_s = self._room_s(self._stands(now).over)
            for swap in saving:
                # What was swapped beside it may have changed what it saves.
                if swap.seconds > room_s or self._adds(now, swap.stage, swap.pick) >= -_HAIR:
                    continue
                if left() <= 0:
                    return
                over = self._stands(_swapped(now, [swap])).over
                if over <= 0:
                    now[swap.stage], swapped, room_s = swap.pick, True, self._room_s(over)

    def _room_s(self, over: float) -> float:
        """More than a swap may delay the whole: what it does is known roughly."""
        deadline_s = self._problem.deadline_s
        return math.inf if deadline_s is None else 2 * -over * deadline_s + 1

    def _stands(self, picks: Sequence[int]) -> "_Standing":
        import numpy as np

        found, beyond = self._some.course(self._chosen(picks)), 0.0
        limits = (found.makespan, self._problem.deadline_s), (found.usd, self._problem.budget_usd)
        for values, limit in limits:
            if limit is not None:
                beyond += float(np.maximum(values / (limit * self._share) - 1, 0).mean())
        over = self.over(self._sure(found.makespan), self._sure(found.usd), self._share)
        return _Standing(over, beyond)

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
                    if not aside and seconds >= 0:
                        continue
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
        deciding = ranks[int(max(0.0, problem.confidence - _NEAR) * len(ranks)) :]
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


def _swapped(picks: Sequence[int], swaps: Sequence[_Swap]) -> list[int]:
    found = list(picks)
    for swap in swaps:
        found[swap.stage] = swap.pick
    return found


def _first(swaps: Sequence[_Swap], most: int) -> list[_Swap]:
    """So many at most, of a stage each."""
    found: dict[int, _Swap] = {}
    for swap in swaps:
        if len(found) == most:
            break
        found.setdefault(swap.stage, swap)
    return list(found.values())
