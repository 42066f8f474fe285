"""What another batch would save, and why not more GPUs: beside a plan that chose by neither."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from mlbroker.policies.candidates import Filters
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote
from mlbroker.pricing.book import Requirements
from mlbroker.profiles.batches_seen import BatchesSeen

# More machines of one GPU are compared with the choice up to so many sizes.
_MOST_SIZES = 4


class MoreGpus(NamedTuple):
    """A machine with more of the choice's GPUs: against it, how much faster and dearer it is."""

    gpus: float
    instance_type: str
    times_faster: float
    times_dearer: float
    quote: Quote


def at_best_batch(planner: Planner, request: PlanRequest, seen: BatchesSeen) -> Plan:
    """The plan that would be, were the batch free: a choice, and its machine at every batch."""
    evidence = request.evidence._replace(batches=seen)
    return planner.plan(request._replace(evidence=evidence, top=1, explain=False, advise=False))


def more_gpus(planner: Planner, request: PlanRequest, choice: Quote) -> Sequence[MoreGpus]:
    """The cheapest machine with each larger number of the choice's GPUs, fewest first.

    All of them without limits and spot without falling back, so that like is compared with like.
    """
    kinds = {
        kind.name: kind.hardware
        for _, _, kind in planner.book.types()
        if kind.cloud == choice.cloud and not kind.retired
    }
    own = kinds.get(choice.instance_type)
    if own is None or own.gpu is None or choice.cost_usd is None:
        return ()
    larger = {
        name: hardware.gpu_count
        for name, hardware in kinds.items()
        if hardware.gpu is not None
        and hardware.gpu.model == own.gpu.model
        and hardware.gpu_count > max(own.gpu_count, 1)
    }
    if not larger:
        return ()
    names = (choice.instance_type, *sorted(larger))
    wish = request.job.resources[choice.option]
    any_count = Requirements(gpu_model=own.gpu.model)
    wishes = (wish._replace(requirements=any_count, instance_type=None, usual=None),)
    job = replace(request.job, deadline=None, budget_usd=None, resources=wishes)
    found = planner.plan(
        request._replace(
            job=job,
            evidence=request.evidence._replace(job=job),
            filters=Filters((choice.cloud,), (), (choice.market,), names),
            judge=None,
            top=0,
            explain=False,
            advise=False,
        )
    ).quotes
    here = next((q for q in found if q.instance_type == choice.instance_type), None)
    if here is None:
        return ()
    cheapest: dict[float, MoreGpus] = {}
    for quote in found:
        gpus = larger.get(quote.instance_type)
        if gpus is not None and (compared := _against(here, quote, gpus)) is not None:
            before = cheapest.get(gpus)
            if before is None or compared.times_dearer < before.times_dearer:
                cheapest[gpus] = compared
    return [cheapest[gpus] for gpus in sorted(cheapest)][:_MOST_SIZES]


def _against(here: Quote, quote: Quote, gpus: float) -> MoreGpus | None:
    hours, cost = quote.duration_h, quote.cost_usd
    if here.duration_h is None or here.cost_usd is None or hours is None or cost is None:
        return None
    return MoreGpus(
        gpus,
        quote.instance_type,
        here.duration_h.p50 / hours.p50,
        float(cost.expected / here.cost_usd.expected) if here.cost_usd.expected else 1.0,
        quote,
    )
