"""Why a plan chose nothing, and what would have to change: for errors, comments and JSON alike."""

import math
from decimal import Decimal

from mlbroker.broker.batch_words import batch_words
from mlbroker.broker.errors import InputError, MlbrokerError, NothingFeasible
from mlbroker.broker.words import count, duration, exact_usd, money
from mlbroker.policies.interruptions import interruptions_per_s
from mlbroker.policies.planner.plan import LeftOut, Plan
from mlbroker.policies.quote import FallsBack, Quote, Reason
from mlbroker.pricing.billing import HOURS_PER_MONTH
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import Job, Replicas
from mlbroker.profiles.service import Measured

REASON_WORDS = {
    Reason.NEEDS_NOT_MET: "do not meet the job's needs",
    Reason.TOO_LITTLE_MEMORY: "have too little memory",
    Reason.TOO_SLOW: "are too slow for the deadline",
    Reason.OVER_BUDGET: "would break the budget",
    Reason.PRICE_MISSING: "have no price in this market",
    Reason.PRICE_STALE: "have only an outdated price",
    Reason.EXCLUDED_BY_FLAG: "are excluded by the command's flags",
    Reason.EXCLUDED_BY_PIN: "are not what the job file names",
    Reason.RETIRED: "are not sold any more",
    Reason.ABOVE_PRICE_CEILING: "are dearer an hour than the job's ceiling",
    Reason.FORBIDDEN_BY_POLICY: "are forbidden by the policy",
    Reason.NO_QUOTA: "are beyond the account's quota",
    Reason.NO_CAPACITY: "had no capacity lately",
    Reason.PROBE_FAILED: "failed when the job was tried on them",
    Reason.INTERRUPTED_TOO_OFTEN: "would be interrupted too often",
    Reason.CREDITS_RUN_OUT: "are burstable, and would run out of credits",
    Reason.NOT_LAUNCHABLE: "could not be launched, or not do the job, as they are sold",
}
# What to do about a job of which nobody knows how long it takes.
MEASURE_OR_SAY = "measure it (`mlbroker profile JOB`), or say `work: {hours: 3, on: g5.xlarge}`"
# Why machines are out, those first that met most before.
_FARTHEST_FIRST = (
    Reason.OVER_BUDGET,
    Reason.TOO_SLOW,
    Reason.INTERRUPTED_TOO_OFTEN,
    Reason.CREDITS_RUN_OUT,
    Reason.FORBIDDEN_BY_POLICY,
    Reason.ABOVE_PRICE_CEILING,
    Reason.NO_CAPACITY,
    Reason.NO_QUOTA,
    Reason.PROBE_FAILED,
    Reason.TOO_LITTLE_MEMORY,
    Reason.NOT_LAUNCHABLE,
    Reason.PRICE_STALE,
    Reason.PRICE_MISSING,
    Reason.RETIRED,
    Reason.NEEDS_NOT_MET,
    Reason.EXCLUDED_BY_PIN,
    Reason.EXCLUDED_BY_FLAG,
)


def nothing_chosen(
    plan: Plan, deadline: str = "deadline", where: str | None = None
) -> MlbrokerError:
    """Exit 4, with what would have to change; exit 2 where it is the deadline, which has passed.

    `deadline` says where it stands, `where` what nothing meets.
    """
    if plan.constraints.deadline_has_passed:
        return deadline_has_passed(deadline)
    return NothingFeasible(
        "no machine meets the job's needs, deadline and budget", where=where, hint=way_out(plan)
    )


def deadline_has_passed(where: str = "deadline") -> InputError:
    """No machine can be in time."""
    return InputError("the deadline has passed", where=where, hint="set a later one")


def way_out(plan: Plan) -> str | None:
    """What would have to change for anything to be feasible."""
    miss = plan.near_miss
    limits: list[tuple[str, str]] = []
    if miss is not None and miss.deadline_s is not None:
        limit = f"a deadline of {duration(miss.deadline_s, least=True)}"
        limits.append((limit, _with(miss.deadline_with, miss.deadline_market)))
    if miss is not None and miss.budget_usd is not None:
        limit = f"a budget of {money(miss.budget_usd, least=True)} USD"
        limits.append((limit, _with(miss.budget_with, miss.budget_market)))
    if miss is not None and miss.together:
        limits = [(" with ".join(limit for limit, _ in limits), limits[0][1])]
    ways = [f"{limit} would do ({name})" for limit, name in limits]
    if ways and not plan.measurements:
        ways.append("measure the job, which narrows it: mlbroker profile JOB --on local")
    left_out = () if miss is None else miss.left_out
    ways += [_retired(left) for left in left_out if left.reason is Reason.RETIRED]
    # Asked last, of what meets needs, deadline and budget: these would do if they were allowed.
    if forbidden := plan.rejections.get(Reason.FORBIDDEN_BY_POLICY):
        example = _example(plan, Reason.FORBIDDEN_BY_POLICY)
        ways.append(f"the policy forbids {count(forbidden, 'offer')} that would do{example}")
    if not ways and (unusable := plan.rejections.get(Reason.NOT_LAUNCHABLE)):
        example = _example(plan, Reason.NOT_LAUNCHABLE)
        ways.append(
            f"{count(unusable, 'offer')} that the job asks for cannot be launched{example}: "
            "with an image_id of yours some may"
        )
    if not ways and plan.rejections:
        # What came farthest says what is nearest to doing: the last check that anything failed.
        last = min(plan.rejections, key=_FARTHEST_FIRST.index)
        ways.append(f"{plan.rejections[last]:,} offers {REASON_WORDS[last]}{_example(plan, last)}")
    if not plan.known and plan.rejections.get(Reason.CREDITS_RUN_OUT):
        # Whether credits last is a question of how long the job takes.
        ways.append(MEASURE_OR_SAY)
    ways += [
        f"without the flags {left.instance_type} on {left.cloud} would do"
        for left in left_out
        if left.reason is not Reason.RETIRED
    ]
    return "; or ".join(ways) or None


def expected_words(quote: Quote) -> str:
    """What is expected of a run, and how sure that is: for the question before money is spent."""
    cost, hours = quote.cost_usd, quote.duration_h
    if cost is None or hours is None:
        return "Never measured: how long it takes is not known."
    chance, why = quote.deadline_probability, quote.evidence
    at = "" if quote.batch is None else f", at {batch_words(quote.batch)}"
    return (
        f"Expected of the whole job: {duration(hours.p50 * 3600)} and {money(cost.expected)} USD;"
        f" in nine runs of ten at most {duration(hours.p90 * 3600)} and {money(cost.p90)} USD"
        + ("" if chance is None else f"; in time with {min(chance, 0.999):.1%}")
        + at
        + f" ({why if why.startswith(quote.basis) else f'{quote.basis}: {why}'})."
    )


def falls_back_words(quote: Quote, deadline_s: float | None) -> str | None:
    """How a spot run keeps its deadline, and what more time would save; None where it does not."""
    back, cost = quote.falls_back, quote.cost_usd
    if back is None or cost is None:
        return None
    share = back.on_demand_share
    much = "almost nothing" if share < 0.005 else f"{share:.0%} of the work"
    text = (
        f"Spot, falls back to on demand ({back.on_demand_price_per_hour_usd.normalize():f} USD an"
        f" hour) to be in time: {much} is expected there"
        + ("." if back.policy == "auto" else f" by the policy {back.policy}.")
    )
    if back.later and deadline_s is not None:
        saved = (
            f"{duration(later.deadline_h * 3600 - deadline_s)} more"
            f" {'would save' if later is back.later[0] else ''}"
            f" {money(later.saves_usd)} USD ({later.saves_usd / cost.expected:.0%})"
            for later in back.later
        )
        text += f" What the deadline costs: {', '.join(' '.join(s.split()) for s in saved)}."
    return f"{text} {_taken_words(back)}"


def _taken_words(back: FallsBack) -> str:
    """From what it is reckoned how often such a machine is taken."""
    rate, own = back.interruption_rate, back.watched
    published = "nobody publishes how often" if rate is None else f"{rate:.1%} a month as published"
    if own is None:
        return f"How often spot is taken: {published}; your runs saw none of the type."
    seen = f"{count(own.taken, 'machine')} of {own.machines} in {own.hours:.0f} h of your own runs"
    where = "" if own.here else ", none of them there"
    return f"How often spot is taken: {seen}{where}, and {published}: `mlbroker spot show`."


def rare_checkpoint_words(plan: Plan) -> str | None:
    """Where a spot machine is usually gone before the job has saved once, and what that costs."""
    checkpoint = plan.job.checkpoint
    spot = [quote for quote in plan.quotes if quote.market is Market.SPOT]
    if checkpoint is None or not spot:
        return None
    gpu = plan.constraints.uses_gpu
    life_s = 1 / interruptions_per_s(None, gpu) / plan.constraints.nodes
    if checkpoint.every_s <= life_s:
        return None
    lost_s = checkpoint.every_s / 2
    usd = spot[0].hourly_usd * Decimal(lost_s / 3600)
    return (
        f"a checkpoint every {duration(checkpoint.every_s)} is longer than spot machines"
        f" {'with' if gpu else 'without'} a GPU usually live ({duration(life_s)}): each that is"
        f" taken loses {duration(lost_s)} of work, {money(usd)} USD on {spot[0].instance_type}."
        " Save more often, and say so in broker.checkpoint."
    )


def strictly_spot_words(job: Job) -> str | None:
    """What `use_spot: true` means for a deadline; None where something else is asked for."""
    markets = [option.market for option in job.resources]
    if job.deadline is None or any(market is not Market.SPOT for market in markets):
        return None
    return (
        "`use_spot: true` is strictly spot, as in SkyPilot: nothing falls back on demand to keep"
        " the deadline. For both, leave use_spot out (with a checkpoint spot then falls back), or"
        " write any_of: [{use_spot: true}, {use_spot: false}]."
    )


def ended_by_its_cap_words(enough_usd: Decimal) -> str:
    """That a budget which pays for the time pays for no cap that lets nine runs of ten end."""
    return (
        "one run of ten or more would be ended before it is done, as a cap also pays for how late a"
        f" machine may end; --budget {exact_usd(enough_usd)} is enough for nine."
    )


def replicas_words(replicas: Replicas, hourly_usd: Decimal) -> str:
    """What a service or a pool costs an hour and a month, as it never ends by itself."""
    least, most = replicas.least, replicas.most
    at_least, at_most = replicas.monthly_usd(hourly_usd)
    scaled = (
        f"; {most} of it {money(most * hourly_usd)}, {money(at_most)} a month"
        if most > least
        else ""
    )
    return (
        f"A {replicas.kind} and no job: {least} of it cost {money(least * hourly_usd)} USD an hour,"
        f" {money(at_least)} a month{scaled}, until it is stopped"
        " (SkyPilot's own controller comes on top)."
    )


def traffic_words(
    job: Job, hourly_usd: Decimal, measured: Measured | None, instance_type: str
) -> str | None:
    """What the traffic of a service needs on a machine of this type, and costs beside its budget;
    None where none is told.

    What was `measured` goes before what the file says; replicas are counted by its lower bound.
    """
    service, replicas = job.service, job.replicas
    if service is None or replicas is None:
        return None
    traffic, rps, budget = service.traffic, service.target_rps, service.month_usd
    said = []
    if measured is not None:
        rps = float(f"{measured.low_rps:.4g}")
        there = measured.config == instance_type
        elsewhere = "" if there else ": on another machine that is a guess"
        said.append(
            f"A replica serves {measured.rps:.4g} requests a second, {rps:g} with 90 %, as measured"
            f" on {measured.config}{elsewhere}."
        )
    if rps is not None:
        per_thousand = float(hourly_usd) / 3.6 / rps
        said.append(f"1,000 requests cost {per_thousand:.3g} USD on a replica that is never idle.")
        if measured is not None and measured.tokens:
            per_million = 1000 * per_thousand / measured.tokens
            said.append(f"A million tokens of its answers cost {per_million:.3g} USD.")
    if traffic.rate_rps is not None and traffic.peak_rps is not None and rps is not None:
        usual, peak = (math.ceil(each / rps) for each in (traffic.rate_rps, traffic.peak_rps))
        usd = replicas._replace(least=max(usual, replicas.least)).monthly_usd(hourly_usd)[0]
        said.append(
            f"{traffic.rate_rps:g} requests a second on {rps:g} each need {usual} of it"
            f" ({money(usd)} USD a month), {traffic.peak_rps:g} at the peak {peak}."
        )
    if budget is not None:
        at_least, at_most = replicas.monthly_usd(hourly_usd)
        fits = int(budget / (hourly_usd * HOURS_PER_MONTH)) if hourly_usd else replicas.most
        # A budget below what the fewest cost is refused: `service_words.too_little_budget`.
        if at_least <= budget < at_most or (budget >= at_least and replicas.most == replicas.least):
            said.append(f"The budget of {money(budget)} USD a month pays for {fits} all the time.")
    return " ".join(said) or None


def unjudged_words(plan: Plan) -> str | None:
    """The limits that were not judged, as nobody knows how long the job takes."""
    if not plan.unjudged:
        return None
    limits = plan.constraints
    said = {
        "deadline": f"the deadline of {duration(limits.deadline_s or 0)}",
        "budget": f"the budget of {limits.budget_usd} USD (it caps the run all the same)",
    }
    names = [said.get(name, f"{name} of the policy") for name in plan.unjudged]
    return f"Could not be judged: {', '.join(names)}."


def _example(plan: Plan, reason: Reason) -> str:
    found = plan.examples.get(reason)
    if found is None:
        return ""
    if found.detail.startswith("no ") and reason is Reason.NEEDS_NOT_MET:
        return f" ({found.detail} anywhere)"
    if reason is Reason.EXCLUDED_BY_PIN:
        return f" ({found.detail})"
    return f" ({found.instance_type}: {found.detail})"


def _with(name: str | None, market: Market | None) -> str:
    return f"{name} on spot" if market is Market.SPOT else name or ""


def _retired(left: LeftOut) -> str:
    also = "" if left.would_do else ", with more time or money"
    return f"{left.instance_type} is retired: name it to use it{also}"
