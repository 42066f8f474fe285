"""Pipelines as limits see them: the stages of one together, by what all of them cost."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from mlbroker.broker.ci.changes import JobChange
from mlbroker.broker.ci.pairs import ChangeStatus
from mlbroker.broker.ci.priced import PricedJob


def wholes(jobs: Iterable[JobChange]) -> list[JobChange]:
    """The jobs, with one entry for each pipeline in place of its stages."""
    found: list[JobChange] = []
    stages: dict[str, list[JobChange]] = {}
    for job in jobs:
        file = job.pair.head or job.pair.base
        if file is None or file.pipeline is None or job.status is ChangeStatus.BROKEN:
            found.append(job)
        else:
            stages.setdefault(job.pair.path, []).append(job)
    return found + [_whole(members) for members in stages.values()]


def _whole(members: Sequence[JobChange]) -> JobChange:
    first = next((job for job in members if job.pair.head is not None), members[0])
    file = first.pair.head or first.pair.base
    assert file is not None
    assert file.pipeline is not None
    base = _sum([job.base for job in members])
    status = ChangeStatus.CHANGED if any(job.touched for job in members) else first.status
    if base is None:
        status = first.status
    pair = replace(first.pair, name=file.pipeline.name)
    return JobChange(pair, status, base, _sum([job.head for job in members]))


def _sum(sides: Sequence[PricedJob | None]) -> PricedJob | None:
    """One side of all stages: the first's, with the cost and the carbon of all."""
    known = [side for side in sides if side is not None]
    quotes = [side.quote for side in known if side.quote is not None]
    if not known or len(quotes) < len(known):
        return known[0] if known else None
    costs = [quote.cost_usd for quote in quotes if quote.cost_usd is not None]
    kgs = [quote.carbon_kgco2e for quote in quotes if quote.carbon_kgco2e is not None]
    if len(costs) < len(quotes):
        return known[0]

    cost = costs[0]._replace(
        expected=sum((each.expected for each in costs), Decimal(0)),
        p90=sum((each.p90 for each in costs), Decimal(0)),
    )
    kg = sum(kgs) if len(kgs) == len(quotes) else None
    return replace(known[0], quote=quotes[0]._replace(cost_usd=cost, carbon_kgco2e=kg))
