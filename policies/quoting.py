"""Offer + prediction -> Quote: the exact money, time and emissions of a run on one machine."""

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal

from mlbroker.policies.burst import on_credits
from mlbroker.policies.constraints import Constraints
from mlbroker.policies.outcome import Outcome
from mlbroker.policies.pace import Pace
from mlbroker.policies.quote import Cost, Course, Quote
from mlbroker.pricing import billing, power
from mlbroker.pricing.offer import Market, Offer
from mlbroker.pricing.region import Region
from mlbroker.profiles.prediction import Basis, Quantiles

# Money is quoted to the micro-dollar; what a vendor charges is rounded to the cent at most.


def make_quote(
    constraints: Constraints,
    power_w: float | None,
    pace: Pace,
    offer: Offer,
    region: Region,
    disk_gb: int,
    price_width: float = 0.0,
) -> Quote:
    """The quote for `constraints.nodes` machines of this offer, feasible or not."""
    nodes, network = constraints.nodes, traffic_usd(constraints, region)
    bill = billing.Bill.of(region, offer.price_per_hour_usd, nodes, disk_gb, network)
    kw = power.energy_kwh(power_w, nodes, region)
    quote = Quote(
        cloud=offer.cloud,
        region=offer.region,
        instance_type=offer.instance_type,
        market=offer.market,
        nodes=nodes,
        price_per_hour_usd=offer.price_per_hour_usd,
        price_as_of=offer.as_of,
        price_source=offer.source,
        price_stale=offer.stale,
        step_time_s=None,
        basis=Basis.UNKNOWN,
        evidence="never measured",
        duration_h=None,
        cost_usd=None,
        deadline_probability=None,
        energy_kwh=None,
        carbon_kgco2e=None,
        grid_intensity_kgco2e_per_kwh=region.grid_kgco2e_per_kwh,
        hourly_usd=bill.usd_per_hour.quantize(billing.MICRO_USD, ROUND_HALF_EVEN),
        once_usd=(bill.once_usd + bill.requests_once_usd * nodes).quantize(
            billing.MICRO_USD, ROUND_HALF_EVEN
        ),
        traffic_usd=bill.once_usd.quantize(billing.MICRO_USD, ROUND_HALF_EVEN),
        power_w=None if kw is None else kw * 1000,
        relative_speed=pace.relative_speed,
        price_width=price_width,
        interruption_rate=offer.interruption_rate,
    )
    prediction = pace.prediction
    if prediction is None:
        return quote
    spot = offer.market is Market.SPOT
    rate = offer.interruption_rate
    outcome = pace.on_spot(rate) if spot else pace.steady
    kwh = None if kw is None else kw * outcome.expected_s / 3600
    deadline_s = constraints.deadline_s
    return quote._replace(
        step_time_s=prediction.step_time_s,
        basis=prediction.basis,
        evidence=prediction.evidence + on_credits(offer.cloud, offer.instance_type),
        duration_h=Quantiles(*(outcome.quantile_s(p) / 3600 for p in (0.1, 0.5, 0.9))),
        cost_usd=run_cost(bill, outcome, price_width),
        deadline_probability=(
            None if deadline_s is None else outcome.probability_within(deadline_s)
        ),
        energy_kwh=kwh,
        carbon_kgco2e=power.carbon_kgco2e(kwh, region),
        command_s=pace.command_s,
        course=Course(outcome.expected_s, outcome.sd_s, outcome.fixed_s),
        sure_h=(pace.sure_on_spot_s(rate) if spot else pace.sure_s) / 3600,
    )


def run_cost(bill: billing.Bill, outcome: Outcome, price_width: float = 0.0) -> Cost:
    """What the run costs, part by part, and what it does not exceed in nine cases of ten."""
    risen = replace(bill, price_per_hour_usd=bill.price_per_hour_usd * Decimal(1 + price_width))

    def whole(seconds: float) -> Decimal:
        return bill.usd(Decimal(seconds))

    undisturbed_s = Decimal(outcome.undisturbed_s)
    compute, storage = bill.machines_usd(undisturbed_s), bill.storage_usd(undisturbed_s)
    lost = whole(outcome.expected_s) - whole(outcome.undisturbed_s)
    parts = [
        part.quantize(billing.MICRO_USD, ROUND_HALF_EVEN)
        for part in (compute, storage, bill.once_usd, lost)
    ]
    return Cost(
        expected=sum(parts, Decimal(0)),
        p90=risen.usd(Decimal(outcome.quantile_s(0.9))).quantize(
            billing.MICRO_USD, ROUND_HALF_EVEN
        ),
        compute=parts[0],
        storage=parts[1],
        network=parts[2],
        interruptions=parts[3],
    )


def traffic_usd(constraints: Constraints, region: Region) -> Decimal:
    """Moving the input to the machines and the output back to where the user is; and what a machine
    saved, as far as it is known: it goes home when the machine ends, and up again with the next.
    """
    incoming = (
        billing.transfer_usd_per_gb(constraints.data_region, region) * constraints.data.input_gb
    )
    if constraints.data_region is None:
        outgoing = billing.egress_usd_per_gb(region) + billing.parts_usd_per_gb(region)
    else:
        outgoing = billing.transfer_usd_per_gb(region, constraints.data_region)
    checkpoint_gb = constraints.data.checkpoint_gb if constraints.checkpoint else None
    home = billing.egress_usd_per_gb(region) + 2 * billing.parts_usd_per_gb(region)
    saved = Decimal(0) if checkpoint_gb is None else home * checkpoint_gb
    return incoming + outgoing * constraints.data.output_gb + saved
