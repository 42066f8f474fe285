"""A plan for a pipeline: what is read for it, one choice for all stages, and why there is none."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.pipeline_stages import PipelineQuery, Stages, place_of_limit
from mlbroker.broker.app.sources import book_of, check_filters, with_nodes
from mlbroker.broker.errors import NothingFeasible
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.pipeline_words import ways_out
from mlbroker.broker.plan_words import deadline_has_passed
from mlbroker.broker.quiet import nothing_on_stdout
from mlbroker.broker.words import duration
from mlbroker.policies.pipeline.explain import Choices, choices
from mlbroker.policies.pipeline.planning import NoChoice, Planned, plan_stages
from mlbroker.policies.pipeline.schedule import timetable
from mlbroker.pricing.book import Snapshot

SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class PlannedPipeline:
    """The plan of a query; `choices` of each stage are there when they were asked for."""

    query: PipelineQuery
    generated_at: datetime
    snapshot: Snapshot
    plan: Planned
    choices: Sequence[Choices] = ()

    @property
    def names(self) -> list[str]:
        """Of the stages."""
        return [file.job.name for file in self.query.file.stages]


def plan_pipeline(query: PipelineQuery, state: Path, listener: Listener) -> PlannedPipeline:
    """Make the plan. One without a selection is a value too: see `nothing_feasible`.

    Raises NothingFeasible where no machine does a stage, InputError where nobody knows how long
    one takes.
    """
    load_numpy()
    now, limits = datetime.now(UTC), query.limits
    deadline_s = None if limits.deadline is None else limits.deadline.seconds_from(now)
    if deadline_s is not None and deadline_s <= 0:
        raise deadline_has_passed(place_of_limit(query, "deadline"))
    book = with_nodes(book_of(state, query.sources.prices, listener), state, query.sources.nodes)
    check_filters(query.filters, book)
    stages = Stages(query, state, listener, book, now)
    try:
        with nothing_on_stdout():
            plan = plan_stages(
                stages.queries(), limits, deadline_s, time.monotonic, SECONDS,
                reuses=not query.to_run,
            )  # fmt: skip
    except NoChoice as found:
        raise stages.no_choice(found) from None
    selection = plan.solution.selection
    explained = choices(plan.problem, selection) if query.explain and selection else ()
    return PlannedPipeline(query, now, book.snapshot, plan, explained)


def nothing_feasible(made: PlannedPipeline) -> NothingFeasible:
    """Exit 4: the stages that time is short for, and what would do."""
    problem, solution, limits = made.plan.problem, made.plan.solution, made.query.limits
    ways, sure = ways_out(solution), f"with {limits.confidence * 100:.4g}%"
    # Where more money is the only way out, it is the budget that is too small.
    by_budget = solution.least_deadline_s is None and solution.least_budget_usd is not None
    key = "budget" if problem.deadline_s is None or by_budget else "deadline"
    if problem.deadline_s is None:
        what = f"no choice of machines costs at most {limits.budget_usd} USD {sure}"
    else:
        what = f"no choice of machines is over within {duration(problem.deadline_s)} {sure}"
        what += "" if limits.budget_usd is None else f" and {limits.budget_usd} USD"
        if solution.fastest is not None:
            picks = zip(problem.stages, solution.fastest.picks, strict=True)
            path = timetable(problem, [stage.options[pick] for stage, pick in picks]).critical
            names = " → ".join(made.names[number] for number in path)
            what += f"; the longest path of the fastest choice is {names}"
    if solution.timed_out:
        what += "; time ran out in the search, so there may be one yet"
    return NothingFeasible(
        what, where=place_of_limit(made.query, key), hint="; or ".join(ways) or None
    )
