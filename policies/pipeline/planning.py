"""From stages as jobs to one choice for all: quotes, the problem, and what its answer means.

Each stage is planned by the planner as a job without limits of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from mlbroker.policies.pipeline.candidates import (
    WorthAQuote,
    links_between,
    machine_of,
    option_of,
    setup_cost_usd,
)
from mlbroker.policies.pipeline.interface import Problem, Selection, Solution, Stage
from mlbroker.policies.pipeline.schedule import Timetable, timetable
from mlbroker.policies.pipeline.solve import SECONDS, solve
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote
from mlbroker.profiles.job import Job, ObjectiveKind

# Regions that stages which send each other something are tried in, beside each type's best.
_MOST_HUBS = 6
_BEST_OF_STAGE = 3


class StageQuery(NamedTuple):
    """A stage to plan: what is asked of the planner, the places of the stages it needs, and how
    many GB it sends to each that waits for it. `own`: the quote of the machine that it is told to
    run on, where it is not planned.
    """

    planner: Planner
    request: PlanRequest
    needs: tuple[int, ...]
    sends_gb: Decimal = Decimal(0)
    own: Quote | None = None

    @property
    def job(self) -> Job:
        """The stage as a job."""
        return self.request.job


class NoChoice(Exception):
    """No machine does a stage (`number`), or nobody knows how long it takes: see its `plan`."""

    def __init__(self, number: int, plan: Plan) -> None:
        super().__init__(number)
        self.number = number
        self.plan = plan


class ChosenStage(NamedTuple):
    """What a stage adds to the whole: its quote's cost, less the set-up of a machine that it goes
    on with (`reuses`), and with what the outputs it needs cost on their way (`transfer_usd`).
    Times are expected, in seconds from the pipeline's start.
    """

    quote: Quote
    cost_usd: Decimal
    transfer_usd: Decimal
    reuses: int | None
    start_s: float
    end_s: float
    slack_s: float


class Planned(NamedTuple):
    """A pipeline's plan; `chosen` is empty and `table` None where nothing keeps the limits."""

    quotes: Sequence[Sequence[Quote]]
    problem: Problem
    solution: Solution
    chosen: Sequence[ChosenStage] = ()
    table: Timetable | None = None

    @property
    def cost_usd(self) -> Decimal:
        """What the whole is expected to cost."""
        return sum((stage.cost_usd for stage in self.chosen), Decimal(0))

    @property
    def carbon_kgco2e(self) -> float | None:
        """What the whole emits; unknown where any stage's is, or nothing is chosen."""
        known = [s.quote.carbon_kgco2e for s in self.chosen if s.quote.carbon_kgco2e is not None]
        return sum(known) if known and len(known) == len(self.chosen) else None


def stage_job(job: Job, limits: Job, *, followed: bool) -> Job:
    """A stage without the limits of the whole. Outputs that others take stay where they are: their
    way to the next stage is no part of its quote.
    """
    data = job.data._replace(output_gb=Decimal(0)) if followed else job.data
    return replace(
        job, deadline=None, budget_usd=None, confidence=limits.confidence,
        objective=limits.objective, data=data,
    )  # fmt: skip


def plan_stages(
    stages: Sequence[StageQuery],
    limits: Job,
    deadline_s: float | None,
    clock: Callable[[], float],
    seconds: float = SECONDS,
    *,
    reuses: bool = True,
) -> Planned:
    """The choice for all stages under the `limits` of the whole; raises NoChoice. With `reuses` a
    stage may go on with the machine of the one before.
    """
    quotes = _quotes(stages)
    problem = _problem(stages, quotes, limits, deadline_s, reuses=reuses)
    solution = solve(problem, seconds, clock)
    if solution.selection is None:
        return Planned(quotes, problem, solution)
    return _chosen(Planned(quotes, problem, solution), solution.selection)


def _quotes(stages: Sequence[StageQuery]) -> list[list[Quote]]:
    """For each stage all that may be in the best selection, each machine once."""
    worth: list[WorthAQuote] = []
    for stage in stages:
        before = stage.needs[0] if len(stage.needs) == 1 and stage.needs[0] < len(worth) else None
        worth.append(WorthAQuote(None if before is None else worth[before]))
    found = []
    for number, stage in enumerate(stages):
        if stage.own is not None:
            found.append([stage.own])
            continue
        plan = _plan(stage, worth[number])
        known = [quote for quote in plan.quotes if quote.course is not None]
        if not known:
            raise NoChoice(number, plan)
        found.append(known)
    near = _near_each_other(stages)
    hubs = _hubs([found[number] for number in near])
    for number in near:
        stage = stages[number]
        if stage.request.filters.regions or stage.own is not None:
            continue
        seen = {machine_of(quote, stage.job) for quote in found[number]}
        for region in hubs:
            for quote in _plan(stage, worth[number], region).quotes:
                if quote.course is not None and machine_of(quote, stage.job) not in seen:
                    seen.add(machine_of(quote, stage.job))
                    found[number].append(quote)
    return found


def _plan(stage: StageQuery, worth: WorthAQuote, region: str | None = None) -> Plan:
    request = stage.request._replace(top=0, keep=worth)
    if region is not None:
        request = request._replace(filters=request.filters._replace(regions=(region,)))
    return stage.planner.plan(request)


def _near_each_other(stages: Sequence[StageQuery]) -> list[int]:
    """The stages from which or to which something is sent: where the others are matters to them."""
    found = set()
    for number, stage in enumerate(stages):
        for before in stage.needs:
            if stages[before].sends_gb:
                found |= {number, before}
    return sorted(found)


def _hubs(found: Sequence[Sequence[Quote]]) -> list[str]:
    """Regions of the best machines of each, in turn."""
    ranks = range(_BEST_OF_STAGE)
    regions = (quotes[rank].region for rank in ranks for quotes in found if rank < len(quotes))
    return list(dict.fromkeys(regions))[:_MOST_HUBS]


def _problem(
    stages: Sequence[StageQuery],
    quotes: Sequence[Sequence[Quote]],
    limits: Job,
    deadline_s: float | None,
    *,
    reuses: bool,
) -> Problem:
    options = [
        [option_of(quote, stage.job, limits.objective) for quote in found]
        for stage, found in zip(stages, quotes, strict=True)
    ]
    if not reuses:
        options = [[option._replace(machine="") for option in found] for found in options]
    places = {option.place for found in options for option in found}
    regions = stages[0].planner.book.regions().values()
    kind = limits.objective.kind
    return Problem(
        [
            Stage(stage.job.name, stage.needs, found, float(stage.sends_gb))
            for stage, found in zip(stages, options, strict=True)
        ],
        links_between(places, regions) if _near_each_other(stages) else {},
        deadline_s,
        limits.confidence,
        None if limits.budget_usd is None else float(limits.budget_usd),
        by_time=kind is ObjectiveKind.TIME,
        traffic_weight=0.0 if kind is ObjectiveKind.CARBON else 1.0,
    )


def _chosen(planned: Planned, selection: Selection) -> Planned:
    """With the stages' choices, times and costs."""
    problem = planned.problem
    options = [s.options[pick] for s, pick in zip(problem.stages, selection.picks, strict=True)]
    table = timetable(problem, options)
    chosen = []
    for number, stage in enumerate(problem.stages):
        quote = planned.quotes[number][selection.picks[number]]
        assert quote.cost_usd is not None, "a quote with a course has a cost"
        place = options[number].place
        sent = sum(problem.link(b, options[b].place, place)[0] for b in stage.needs)
        transfer = Decimal(str(round(sent, 6)))
        reuses = stage.needs[0] if selection.reuses[number] else None
        saved = Decimal(0) if reuses is None else setup_cost_usd(quote)
        chosen.append(
            ChosenStage(
                quote,
                quote.cost_usd.expected - saved + transfer,
                transfer,
                reuses,
                table.starts_s[number],
                table.ends_s[number],
                table.slack_s[number],
            )
        )
    return planned._replace(chosen=chosen, table=table)
