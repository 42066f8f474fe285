"""A plan for a pipeline: each stage's quotes from the planner, and the choice for all together."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.pipeline_stages import PipelineQuery, Stages, place_of_limit
from mlbroker.broker.app.sources import book_of, check_filters, with_nodes
from mlbroker.broker.errors import MlbrokerError, NothingFeasible
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.plan_words import deadline_has_passed
from mlbroker.broker.words import duration, money
from mlbroker.policies.pipeline.explain import Choices, choices
from mlbroker.policies.pipeline.interface import Problem, Selection, Solution, Stage
from mlbroker.policies.pipeline.schedule import Timetable, timetable
from mlbroker.policies.planner.book import Book
from mlbroker.policies.quote import Quote
from mlbroker.pricing.book import Snapshot
from mlbroker.profiles.job import Job, ObjectiveKind

SECONDS = 20.0


class PlannedStage(NamedTuple):
    """A stage of the plan: its job, its quotes, and of the choice what it adds to the whole.

    `cost_usd` is the quote's, less what going on with the machine of `reuses` saves, and with
    `transfer_usd`, what the outputs that it needs cost on their way.
    """

    job: Job
    needs: tuple[str, ...]
    quotes: Sequence[Quote]
    choice: Quote | None = None
    cost_usd: Decimal | None = None
    transfer_usd: Decimal = Decimal(0)
    reuses: str | None = None
    start_s: float = 0.0
    end_s: float = 0.0
    slack_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PlannedPipeline:
    """The plan. Without a selection, `failure` tells why and what would do.

    `choices` are there when they were asked for.
    """

    query: PipelineQuery
    generated_at: datetime
    snapshot: Snapshot
    deadline_s: float | None
    problem: Problem
    solution: Solution
    stages: Sequence[PlannedStage]
    table: Timetable | None = None
    choices: Sequence[Choices] = ()
    failure: MlbrokerError | None = None

    @property
    def selection(self) -> Selection | None:
        """The choice for all stages."""
        return self.solution.selection

    @property
    def cost_usd(self) -> Decimal | None:
        """What the whole is expected to cost."""
        costs = [stage.cost_usd for stage in self.stages if stage.cost_usd is not None]
        return sum(costs, Decimal(0)) if len(costs) == len(self.stages) else None

    @property
    def carbon_kgco2e(self) -> float | None:
        """What the whole emits; unknown where any stage's is."""
        found = [stage.choice.carbon_kgco2e for stage in self.stages if stage.choice is not None]
        known = [kg for kg in found if kg is not None]
        return sum(known) if len(known) == len(self.stages) else None


@contextmanager
def _nothing_on_stdout() -> Iterator[None]:
    """HiGHS 1.12 prints a line of its own there now and then, also when it is told to be quiet."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def plan_pipeline(query: PipelineQuery, state: Path, listener: Listener) -> PlannedPipeline:
    """Make the plan. One without a selection is a value too, with its `failure`.

    Raises NothingFeasible where no machine does a stage, InputError where nobody knows how long
    one takes.
    """
    load_numpy()
    from mlbroker.policies.pipeline.solve import solve

    now, limits = datetime.now(UTC), query.limits
    deadline_s = None if limits.deadline is None else limits.deadline.seconds_from(now)
    if deadline_s is not None and deadline_s <= 0:
        raise deadline_has_passed(place_of_limit(query, "deadline"))
    book = with_nodes(book_of(state, query.sources.prices, listener), state, query.sources.nodes)
    check_filters(query.filters, book)
    stages = Stages(query, state, listener, book, now)
    quotes = stages.quotes()
    problem = _problem(query, stages.jobs, quotes, book, deadline_s)
    with _nothing_on_stdout():
        solution = solve(problem, SECONDS, time.monotonic)
    made = PlannedPipeline(
        query, now, book.snapshot, deadline_s, problem, solution,
        [
            PlannedStage(job, stages.names(number), quotes[number])
            for number, job in enumerate(stages.jobs)
        ],
    )  # fmt: skip
    if solution.selection is None:
        return replace(made, failure=_nothing_feasible(made))
    return _filled(made, solution.selection)


def _problem(
    query: PipelineQuery,
    jobs: Sequence[Job],
    quotes: Sequence[Sequence[Quote]],
    book: Book,
    deadline_s: float | None,
) -> Problem:
    from mlbroker.policies.pipeline.candidates import links_between, option_of

    limits, file = query.limits, query.file
    options = [
        [option_of(quote, job, limits.objective) for quote in found]
        for job, found in zip(jobs, quotes, strict=True)
    ]
    kind = limits.objective.kind
    stages = [
        Stage(job.name, needs, found, float(file.stages[number].job.data.output_gb))
        for number, (job, needs, found) in enumerate(zip(jobs, file.needs, options, strict=True))
    ]
    places = {option.place for found in options for option in found}
    sends = any(stage.sends_gb for stage in stages)
    return Problem(
        stages,
        links_between(places, book.regions().values()) if sends else {},
        deadline_s,
        limits.confidence,
        None if limits.budget_usd is None else float(limits.budget_usd),
        by_time=kind is ObjectiveKind.TIME,
        traffic_weight=0.0 if kind is ObjectiveKind.CARBON else 1.0,
    )


def _filled(made: PlannedPipeline, selection: Selection) -> PlannedPipeline:
    """The plan with the stages' choices, times and costs."""
    from mlbroker.policies.pipeline.candidates import setup_cost_usd

    problem = made.problem
    chosen = [s.options[pick] for s, pick in zip(problem.stages, selection.picks, strict=True)]
    table = timetable(problem, chosen)
    stages = []
    for number, stage in enumerate(made.stages):
        quote = stage.quotes[selection.picks[number]]
        assert quote.cost_usd is not None
        needs = problem.stages[number].needs
        sent = [problem.link(b, chosen[b].place, chosen[number].place)[0] for b in needs]
        transfer = Decimal(str(round(sum(sent), 6)))
        again = selection.reuses[number]
        saved = setup_cost_usd(quote) if again else Decimal(0)
        stages.append(
            stage._replace(
                choice=quote,
                cost_usd=quote.cost_usd.expected - saved + transfer,
                transfer_usd=transfer,
                reuses=made.stages[needs[0]].job.name if again else None,
                start_s=table.starts_s[number],
                end_s=table.ends_s[number],
                slack_s=table.slack_s[number],
            )
        )
    explained = choices(problem, selection) if made.query.explain else ()
    return replace(made, stages=stages, table=table, choices=explained)


def _nothing_feasible(made: PlannedPipeline) -> NothingFeasible:
    """Exit 4: the stages that time is short for, and what would do."""
    solution, query = made.solution, made.query
    limits, ways = query.limits, []
    if solution.least_deadline_s is not None:
        ways.append(f"a deadline of {duration(solution.least_deadline_s, least=True)} would do")
    if solution.least_budget_usd is not None:
        usd = Decimal(str(solution.least_budget_usd))
        ways.append(f"a budget of {money(usd, least=True)} USD would do")
    what, key = "no choice of machines keeps the pipeline's limits", "budget"
    if made.deadline_s is not None:
        key = "deadline"
        what = f"no choice of machines is over within {duration(made.deadline_s)}"
        what += f" with {limits.confidence * 100:.4g}%"
        what += "" if limits.budget_usd is None else f" and {limits.budget_usd} USD"
        if solution.fastest is not None:
            problem, picks = made.problem, solution.fastest.picks
            chosen = [s.options[p] for s, p in zip(problem.stages, picks, strict=True)]
            path = timetable(problem, chosen).critical
            names = " → ".join(problem.stages[number].name for number in path)
            what += f"; the longest path of the fastest choice is {names}"
    elif limits.budget_usd is not None:
        what = f"no choice of machines costs at most {limits.budget_usd} USD"
        what += f" with {limits.confidence * 100:.4g}%"
    return NothingFeasible(what, where=place_of_limit(query, key), hint="; or ".join(ways) or None)
