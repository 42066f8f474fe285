"""When stages start and end, on average and in many simulated executions."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.policies.outcome import normal_quantile
from mlbroker.policies.pipeline.interface import Option, Problem, Selection

if TYPE_CHECKING:
    import numpy as np

# Executions that a chance is read from, stratified: each stage's times are spread evenly over its
# distribution. Of a share p of them the standard error is sqrt(p (1 - p) / 8192) at most.
DRAWS = 8192
_ROUNDING = 1e-9
_SEED = 20_230_911


class Timetable(NamedTuple):
    """Expected starts and ends of the stages, in seconds; `slack_s` is how much longer each could
    take before the whole would; `critical` are the stages of the longest path, in order.
    """

    starts_s: tuple[float, ...]
    ends_s: tuple[float, ...]
    slack_s: tuple[float, ...]
    critical: tuple[int, ...]


class Course(NamedTuple):
    """Simulated executions: starts and ends (seconds) of each stage, the end of the whole, and what
    it cost.
    """

    starts: "list[np.ndarray]"
    ends: "list[np.ndarray]"
    makespan: "np.ndarray"
    usd: "np.ndarray"


class Simulator:
    """The same draws for every selection, so that two differ by their choices alone."""

    def __init__(self, problem: Problem, seed: int = _SEED, draws: int = DRAWS) -> None:
        import numpy as np
        from scipy.special import ndtri

        self._problem = problem
        lots = np.random.default_rng(seed)
        even = (np.arange(draws) + 0.5) / draws
        self._normal = np.stack([ndtri(lots.permutation(even)) for _ in problem.stages])

    def selection(self, picks: Sequence[int]) -> Selection:
        """What comes of these options."""
        import numpy as np

        problem = self._problem
        chosen = [stage.options[pick] for stage, pick in zip(problem.stages, picks, strict=True)]
        reuses = reused(problem, chosen)
        ran = self.course(chosen)
        makespan = ran.makespan
        limit, sure = problem.deadline_s, sure_share(problem.confidence)
        table = timetable(problem, chosen)
        return Selection(
            picks=tuple(picks),
            reuses=reuses,
            cost_usd=cost_of(problem, chosen),
            score=score_of(problem, chosen, reuses),
            duration_s=max(table.ends_s),
            sure_s=float(np.quantile(makespan, sure, method="higher")),
            sure_usd=float(np.quantile(ran.usd, sure, method="higher")),
            p90_usd=float(np.quantile(ran.usd, 0.9)),
            chance=None if limit is None else float(np.mean(makespan <= limit)),
        )

    def course(self, chosen: Sequence[Option]) -> "Course":
        """Every execution of these options."""
        import numpy as np

        problem, reuses = self._problem, reused(self._problem, chosen)
        none = np.zeros(self._normal.shape[1])
        starts, ends = [none] * len(chosen), [none] * len(chosen)
        usd = none + float(transfer_usd(problem, chosen))
        for stage in problem.order:
            option = chosen[stage]
            times = self.times(stage, option)
            saved_s = option.setup_s if reuses[stage] else 0.0
            saved_usd = option.setup_usd if reuses[stage] else 0.0
            usd += option.cost_usd - saved_usd + (times - option.mean_s) * option.usd_per_s
            for before in problem.stages[stage].needs:
                moved_s = problem.link(before, chosen[before].place, option.place)[1]
                starts[stage] = np.maximum(starts[stage], ends[before] + moved_s)
            ends[stage] = starts[stage] + times - saved_s
        return Course(starts, ends, np.max(np.stack(ends), axis=0), usd)

    def times(self, stage: int, option: Option) -> "np.ndarray":
        """How long the option takes the stage, start-up included, in each execution."""
        import numpy as np

        mu, sigma = log_normal(option)
        times: np.ndarray = option.fixed_s + np.exp(mu + sigma * self._normal[stage])
        return times


def sure_share(confidence: float) -> float:
    """The share of executions that has to keep a limit: one standard error above what is asked,
    as the executions that count will be others.
    """
    return min(confidence + math.sqrt(confidence * (1 - confidence) / DRAWS), 1.0)


def keeps_limits(problem: Problem, found: Selection) -> bool:
    """Whether enough executions are in time, and within the budget."""
    near = 1 - _ROUNDING
    in_time = problem.deadline_s is None or found.sure_s * near <= problem.deadline_s
    return in_time and (problem.budget_usd is None or found.sure_usd * near <= problem.budget_usd)


def log_normal(option: Option) -> tuple[float, float]:
    """Mean and standard deviation of the logarithm of what of an option's time is not fixed."""
    rest = max(option.mean_s - option.fixed_s, 1e-9)
    square = math.log1p((option.sd_s / rest) ** 2)
    return math.log(rest) - square / 2, math.sqrt(square)


def reused(problem: Problem, chosen: Sequence[Option]) -> tuple[bool, ...]:
    """Which stages go on with the machine of the one before."""
    return tuple(
        before is not None and chosen[before].machine == option.machine != ""
        for before, option in zip(problem.chained, chosen, strict=True)
    )


def transfer_usd(problem: Problem, chosen: Sequence[Option]) -> float:
    """What the traffic between the stages costs."""
    return sum(
        problem.link(before, chosen[before].place, chosen[number].place)[0]
        for number, stage in enumerate(problem.stages)
        for before in stage.needs
    )


def cost_of(problem: Problem, chosen: Sequence[Option]) -> float:
    """What the whole is expected to cost, in USD."""
    reuses = reused(problem, chosen)
    own = sum(
        option.cost_usd - (option.setup_usd if again else 0.0)
        for option, again in zip(chosen, reuses, strict=True)
    )
    return own + transfer_usd(problem, chosen)


def score_of(problem: Problem, chosen: Sequence[Option], reuses: Sequence[bool]) -> float:
    """What is made small, traffic included where it counts."""
    own = sum(
        option.score - (option.setup_score if again else 0.0)
        for option, again in zip(chosen, reuses, strict=True)
    )
    return own + problem.traffic_weight * transfer_usd(problem, chosen)


def timetable(problem: Problem, chosen: Sequence[Option]) -> Timetable:
    """The expected course: every stage takes its mean."""
    count = len(chosen)
    reuses = reused(problem, chosen)
    starts, ends = [0.0] * count, [0.0] * count
    last: list[int | None] = [None] * count
    for stage in problem.order:
        option = chosen[stage]
        for before in problem.stages[stage].needs:
            moved_s = problem.link(before, chosen[before].place, option.place)[1]
            if ends[before] + moved_s >= starts[stage]:
                starts[stage], last[stage] = ends[before] + moved_s, before
        ends[stage] = starts[stage] + option.mean_s - (option.setup_s if reuses[stage] else 0.0)
    whole = max(ends)
    latest = [whole] * count
    for stage in reversed(problem.order):
        for after in problem.followers[stage]:
            moved_s = problem.link(stage, chosen[stage].place, chosen[after].place)[1]
            begin = latest[after] - (ends[after] - starts[after]) - moved_s
            latest[stage] = min(latest[stage], begin)
    path = [max(range(count), key=lambda stage: ends[stage])]
    while (before_it := last[path[-1]]) is not None:
        path.append(before_it)
    slack = (max(0.0, late - end) for late, end in zip(latest, ends, strict=True))
    return Timetable(tuple(starts), tuple(ends), tuple(slack), tuple(reversed(path)))


def least_z(confidence: float) -> float:
    """The normal quantile of the confidence, not below zero."""
    return max(0.0, normal_quantile(confidence))
