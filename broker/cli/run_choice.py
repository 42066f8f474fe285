"""Which machines a run may take: the plan's, in regions where mlbroker can launch."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlbroker.broker.clouds import CLOUDS
from mlbroker.broker.clouds.interface import Cloud, Denied
from mlbroker.broker.errors import CloudError, InputError
from mlbroker.broker.home import home
from mlbroker.broker.output import say, warn
from mlbroker.broker.prices.shortages import lately
from mlbroker.broker.runs.launch_options import planned
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.broker.runs.zones import by_zone, launchable_in, why_not_in
from mlbroker.policies.candidates import Filters
from mlbroker.profiles.job import Job

# For each type the plan keeps the best region: so many types are enough to fail over.
RUNNERS_UP = 300


@dataclass(frozen=True, slots=True)
class Sources:
    """The files that a plan is made from, besides the job's own."""

    measure: Path | None = None
    prices: Path | None = None
    nodes: Path | None = None
    policy: Path | None = None
    reason: str | None = None


def chosen(
    job: Job,
    job_path: Path,
    now: datetime,
    wanted: Filters,
    sources: Sources,
    opened: Callable[[str], Cloud],
    *,
    dry_run: bool,
) -> tuple[LaunchOption, ...]:
    """The plan's candidates, best first; planned anew where its choice cannot be launched."""
    from mlbroker.broker.cli.plan import (
        check_filters,
        gather_evidence,
        nothing_chosen,
        veto_of,
        warn_of_unknown,
        with_nodes,
        within_reach,
    )
    from mlbroker.broker.prices.price_book import open_book
    from mlbroker.policies.planner.plan import PlanRequest
    from mlbroker.policies.planner.planner import Planner

    shelf = within_reach(with_nodes(open_book(home(), sources.prices), sources.nodes), job)
    check_filters(wanted, shelf)
    warn_of_unknown(job, shelf)
    veto = veto_of(job_path, sources.policy, sources.reason, shelf)
    evidence = gather_evidence(job, sources.measure)
    kinds = [kind for _, _, kind in shelf.types()]
    planner = Planner(shelf, now)

    def candidates(where: Filters) -> tuple[LaunchOption, ...]:
        plan = planner.plan(PlanRequest(job, evidence, where, veto, top=RUNNERS_UP))
        if plan.choice is None:
            raise nothing_chosen(plan)
        return planned(job, plan.quotes, shelf.regions().values(), kinds, CLOUDS)

    found = candidates(wanted)
    try:
        why = _why_not(found[0], opened)
        if why is None:
            return found
        where = launchable_in(wanted, kinds, opened, say)
    except CloudError as error:
        if not dry_run:
            raise
        warn(str(error))
        return found
    best = found[0]
    say(
        f"Note: the plan's choice, {best.instance_type} in {best.region}, cannot be launched: {why}"
    )
    say(f"Planned again for where it can be: {', '.join(where.regions)}.")
    return candidates(where)


def placed(
    candidates: tuple[LaunchOption, ...],
    now: datetime,
    opened: Callable[[str], Cloud],
    *,
    dry_run: bool,
) -> tuple[LaunchOption, ...]:
    """Where exactly; a dry run goes without when the cloud cannot be asked."""
    try:
        return by_zone(candidates, opened, lately(home(), now), say)
    except CloudError as error:
        if not dry_run:
            raise
        warn(str(error))
        return candidates


def _why_not(candidate: LaunchOption, opened: Callable[[str], Cloud]) -> str | None:
    """Why this account cannot launch there, and what to do about it; None where it can."""
    try:
        return why_not_in(opened(candidate.cloud), candidate.cloud, candidate.region)
    except (Denied, InputError) as error:
        return str(error)
