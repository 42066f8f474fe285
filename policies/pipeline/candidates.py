"""From a stage's quotes to the ways to do it, and what lies between the places they are in."""

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from mlbroker.policies.outcome import Outcome
from mlbroker.policies.picks import Pick
from mlbroker.policies.pipeline.fronts import undominated
from mlbroker.policies.pipeline.interface import Link, Option
from mlbroker.policies.quote import Quote
from mlbroker.pricing.billing import MICRO_USD, SECONDS_PER_HOUR, transfer_usd_per_gb
from mlbroker.pricing.region import Region
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.job import Job, Objective, ObjectiveKind

# Between regions of a cloud AWS gives machines of fewer than 32 vCPUs 5 Gbit/s in all (EC2 user
# guide, "network bandwidth"); between clouds and to machines of one's own 1 Gbit/s is assumed.
# Within a region the time is taken for nothing, as of a job's input.
SAME_CLOUD_S_PER_GB = 8 / 5
ELSEWHERE_S_PER_GB = 8.0


class WorthAQuote:
    """Of a stage's thousands of picks those that no other is better than in both parts of its key,
    in time and in spread; and those that the stage before it, a `neighbour`, may leave its machine
    for.
    """

    def __init__(self, neighbour: "WorthAQuote | None" = None) -> None:
        self._neighbour = neighbour
        self.machines: set[tuple[int, bool, int]] = set()

    def __call__(self, picks: Sequence[Pick]) -> list[Pick]:
        """The picks, in their order."""
        known = [pick for pick in picks if math.isfinite(pick.key[0])] or list(picks)
        values = []
        for pick in known:
            outcome = _outcome(pick)
            key = [part if math.isfinite(part) else 0.0 for part in pick.key]
            values.append((*key, outcome.expected_s, outcome.sd_s))
        none = [(0.0,) * len(row) for row in values]
        best = {id(known[number]) for number in undominated(values, none)}
        self.machines |= {_machine(pick) for pick in known if id(pick) in best}
        left = self._neighbour.machines if self._neighbour is not None else set()
        return [pick for pick in known if id(pick) in best or _machine(pick) in left]


def _machine(pick: Pick) -> tuple[int, bool, int]:
    return pick.row.type_id, pick.candidate.spot, pick.row.region_id


def _outcome(pick: Pick) -> Outcome:
    pace = pick.candidate.machine.pace_in(pick.row.region_id)
    return pace.on_spot(pick.row.interruption_rate) if pick.candidate.spot else pace.steady


def option_of(quote: Quote, job: Job, objective: Objective) -> Option:
    """What the optimiser sees of a quote whose cost and course are known."""
    assert quote.cost_usd is not None, "a stage that was never measured has no options"
    assert quote.course is not None
    cost = float(quote.cost_usd.expected)
    # An old price wins only by more than it may have risen, as where one job is planned.
    risen = cost + quote.price_width * float(quote.cost_usd.compute + quote.cost_usd.interruptions)
    setup_s, setup_usd = vendor(quote.cloud).setup_s, float(setup_cost_usd(quote))
    setup_kg = (quote.carbon_kgco2e or 0.0) * setup_s / quote.course.mean_s
    return Option(
        quote.course.mean_s, quote.course.sd_s, cost,
        score=_score(objective, risen, quote.carbon_kgco2e),
        fixed_s=quote.course.fixed_s,
        usd_per_s=float(quote.hourly_usd) / 3600,
        place=place_of(quote),
        machine=machine_of(quote, job),
        setup_s=setup_s,
        setup_usd=setup_usd,
        setup_score=_score(objective, setup_usd, setup_kg),
    )  # fmt: skip


def _score(objective: Objective, usd: float, kg: float | None) -> float:
    match objective.kind:
        case ObjectiveKind.CARBON:
            return math.inf if kg is None else kg
        case ObjectiveKind.WEIGHTED:
            return math.inf if kg is None else usd + float(objective.usd_per_kg_co2e or 0) * kg
        case _:
            return usd


def setup_cost_usd(quote: Quote) -> Decimal:
    """What the machine's own set-up costs, which a stage that goes on with it saves."""
    setup_s = Decimal(str(vendor(quote.cloud).setup_s))
    return (quote.hourly_usd * setup_s / SECONDS_PER_HOUR).quantize(MICRO_USD, ROUND_HALF_EVEN)


def place_of(quote: Quote) -> str:
    """Cloud and region."""
    return f"{quote.cloud}/{quote.region}"


def machine_of(quote: Quote, job: Job) -> str:
    """Equal for machines of which one can go on with another's work: the disk and the image too."""
    wish = job.resources[quote.option]
    named = (quote.instance_type, quote.market, quote.nodes, wish.disk_gb, wish.image_id or "")
    return "/".join(map(str, (place_of(quote), *named)))


def links_between(
    places: Iterable[str], regions: Iterable[Region]
) -> Mapping[tuple[str, str], Link]:
    """What a GB costs between each two of the places, and how long it takes."""
    known = {f"{region.cloud}/{region.name}": region for region in regions}
    wanted = sorted(set(places))
    found = {}
    for source in wanted:
        for target in wanted:
            if source == target:
                continue
            here, there = (known.get(place) or _unknown(place) for place in (source, target))
            near = here.cloud == there.cloud
            found[source, target] = Link(
                float(transfer_usd_per_gb(here, there)),
                SAME_CLOUD_S_PER_GB if near else ELSEWHERE_S_PER_GB,
            )
    return found


def _unknown(place: str) -> Region:
    cloud, _, name = place.partition("/")
    return Region(cloud, name)
