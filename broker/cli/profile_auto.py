"""`mlbroker profile --auto`: measure on the machines that are worth it, one after the other."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from mlbroker.broker.cli.profile_run import campaign, confirm, keep
from mlbroker.broker.errors import MlbrokerError, NothingFeasible
from mlbroker.broker.home import home
from mlbroker.broker.measure.auto import Measured, Option, Outcome, Search
from mlbroker.broker.measure.offers import offers_of
from mlbroker.broker.output import say
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.policies.candidates import Filters
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.stepping.stopping import StopRule
from mlbroker.profiles.value_of_information import MAX_PROBES

# Of so many quotes the cheapest, each type once, may be measured.
MAX_QUOTES = 400


def auto(
    job: Job,
    job_path: Path,
    rule: StopRule,
    wanted: Filters,
    nodes: Path | None,
    yes: bool,
) -> list[Measurement]:
    """What was measured; what to take, and why no more is measured, is said."""
    from mlbroker.broker.cli.plan import (
        check_filters,
        gather_evidence,
        nothing_chosen,
        with_nodes,
    )
    from mlbroker.broker.clouds import CLOUDS, opener
    from mlbroker.broker.prices.price_book import open_book
    from mlbroker.broker.runs.launch_options import planned
    from mlbroker.broker.runs.zones import launchable_in
    from mlbroker.policies.planner.hardware import with_hardware
    from mlbroker.policies.planner.plan import PlanRequest
    from mlbroker.policies.planner.planner import Planner

    shelf = with_nodes(open_book(home(), None), nodes)
    check_filters(wanted, shelf)
    kinds = [kind for _, _, kind in shelf.types()]
    wanted = launchable_in(wanted, kinds, opener(home()), say)
    evidence = with_hardware(shelf, gather_evidence(job, None))
    # Deadline and budget are for the chooser: a guess that breaks them is no reason not to measure.
    free = replace(job, deadline=None, budget_usd=None)
    request = PlanRequest(free, evidence, wanted, top=MAX_QUOTES)
    plan = Planner(shelf, datetime.now(UTC)).plan(request)
    if plan.choice is None:
        raise nothing_chosen(plan)
    launchable = [quote for quote in plan.quotes if quote.cloud in CLOUDS]
    if not launchable:
        raise NothingFeasible("no machine that mlbroker can launch meets the job's needs")
    candidates = planned(job, launchable, shelf.regions().values(), kinds, CLOUDS)
    offers = offers_of(launchable, kinds)
    options = [Option(*pair) for pair in zip(candidates, offers, strict=True)]
    confirm(
        f"Measure {job.name} on the machines that are worth it, for at most "
        f"{job.profile.max_cost_usd} USD in all?",
        yes,
        money=True,
    )

    def measure(
        places: Sequence[LaunchOption], left_usd: Decimal, hopeless_step_s: float | None
    ) -> list[Measured | MlbrokerError]:
        limited = replace(job, profile=replace(job.profile, max_cost_usd=left_usd))
        quick = replace(rule, hopeless_step_s=hopeless_step_s)
        results = campaign(limited, job_path, quick, [[place] for place in places])
        done = [result for result in results if not isinstance(result, MlbrokerError)]
        if done:
            keep([result.measurement for result in done])
        return [
            result
            if isinstance(result, MlbrokerError)
            else Measured(result.measurement, result.spent_usd)
            for result in results
        ]

    def deadline_s() -> float | None:
        return None if job.deadline is None else job.deadline.seconds_from(datetime.now(UTC))

    search = Search(
        evidence,
        options,
        plan.constraints.steps,
        job.profile.max_cost_usd,
        deadline_s,
        job.profile.max_time_s,
        MAX_PROBES,
    )
    outcome: Outcome = search.run(measure, say)
    say(f"{len(outcome.rows)} measured for {outcome.spent_usd:.4f} USD.")
    if outcome.best is None:
        raise NothingFeasible("the job failed wherever it was measured")
    return outcome.rows
