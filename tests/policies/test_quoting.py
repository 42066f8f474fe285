"""A quote's money, worked out by hand; and that its parts always make its sum."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.policies.constraints import Constraints
from mlbroker.policies.pace import Pace
from mlbroker.policies.quote import Quote
from mlbroker.policies.quoting import make_quote, traffic_usd
from mlbroker.pricing.offer import Market, Offer
from mlbroker.pricing.region import Region
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.job import Checkpoint, Data
from mlbroker.profiles.prediction import Basis, Prediction

HERE = Region("aws", "us-east-1", "us", None, Decimal("0.073"), Decimal("0.005"),
              Decimal("0.09"), Decimal("0.02"), Decimal("0.05"), 0.4, "x", 1.25)  # fmt: skip
THERE = Region("gcp", "us-central1", "us", None, None, None, Decimal("0.12"))
CERTAIN = Prediction(2.0, 0.0, Basis.MEASURED, "measured once on x")


def quote_of(
    constraints: Constraints,
    market: Market = Market.ON_DEMAND,
    rate: float | None = None,
    prediction: Prediction = CERTAIN,
    price: str = "1.00",
) -> Quote:
    offer = Offer(
        "aws", "us-east-1", "x", market, Decimal(price), date(2026, 7, 20), "list",
        interruption_rate=rate,
    )  # fmt: skip
    pace = Pace(constraints, prediction, "aws", False)
    return make_quote(constraints, 200.0, pace, offer, HERE, 100)


def test_an_hour_and_its_side_costs() -> None:
    steps = int((3600 - vendor("aws").setup_s) / 2)  # set-up and work make one hour
    quote = quote_of(Constraints(steps=steps, nodes=2, deadline_s=7200))
    assert quote.duration_h.p50 == pytest.approx(1.0)
    assert quote.cost_usd.compute == Decimal("2.000000")
    # 100 GB x .073 / 730 h = .01, and .005 for the address, on each of two machines; requests to
    # the bucket, as test_billing has them: .001176 in the hour and .001006 once for each.
    assert quote.cost_usd.storage == Decimal("0.034364")
    assert quote.cost_usd.network == 0
    assert quote.cost_usd.interruptions == 0
    assert quote.cost_usd.expected == Decimal("2.034364")
    assert quote.cost_usd.p90 == Decimal("2.034364")  # nothing is uncertain here
    assert quote.deadline_probability == 1.0
    # 200 W x 1.25 PUE x 2 machines x 1 h, at .4 kg a kWh
    assert quote.energy_kwh == pytest.approx(0.5)
    assert quote.carbon_kgco2e == pytest.approx(0.2)


def test_traffic_in_and_out() -> None:
    data = Data(Decimal(40), Decimal(10))
    at_home = Constraints(steps=1, data=data)
    # In from outside is free, out is not: nor are the requests of 300 parts of 32 MiB.
    parts = 300 * (Decimal("0.000007") + Decimal("0.00000056"))
    assert traffic_usd(at_home, HERE) == Decimal("0.90") + parts
    elsewhere = Constraints(steps=1, data=data, data_region=THERE)
    assert traffic_usd(elsewhere, HERE) == 40 * Decimal("0.12") + 10 * Decimal("0.09")
    assert traffic_usd(Constraints(steps=1, data=data, data_region=HERE), HERE) == 0
    assert quote_of(elsewhere).cost_usd.network == Decimal("5.700000")
    # What a machine saved goes home, wherever the data lies, and up again with the next.
    saves = Constraints(
        steps=1,
        data=Data(checkpoint_gb=Decimal(2)),
        data_region=HERE,
        checkpoint=Checkpoint("c", 9),
    )
    assert traffic_usd(saves, HERE) == Decimal("0.18") + parts * 2 * 2 / 10
    assert traffic_usd(replace(saves, checkpoint=None), HERE) == 0


def test_interruptions_cost_money_and_time() -> None:
    constraints = Constraints(steps=5000, checkpoint=Checkpoint("c/", 600), deadline_s=20_000)
    calm, spot = quote_of(constraints), quote_of(constraints, Market.SPOT, 0.25)
    assert spot.cost_usd.interruptions > 0
    assert spot.cost_usd.compute == calm.cost_usd.compute
    assert spot.cost_usd.expected > calm.cost_usd.expected
    assert spot.duration_h.p90 >= calm.duration_h.p90
    unknown = quote_of(constraints, Market.SPOT, None)
    assert unknown.cost_usd.interruptions > spot.cost_usd.interruptions


@given(
    steps=st.integers(1, 10**6),
    nodes=st.integers(1, 64),
    price=st.decimals("0.0001", "500", places=6).map(str),
    market=st.sampled_from(Market),
    rate=st.none() | st.floats(0, 1),
    sigma=st.floats(0, 2),
    step_s=st.floats(1e-6, 1e3),
)
def test_parts_make_the_sum(
    steps: int,
    nodes: int,
    price: str,
    market: Market,
    rate: float | None,
    sigma: float,
    step_s: float,
) -> None:
    constraints = Constraints(steps=steps, nodes=nodes, checkpoint=Checkpoint("c/", 600))
    prediction = Prediction(step_s, sigma, Basis.PREDICTED, "e")
    cost = quote_of(constraints, market, rate, prediction, price).cost_usd
    assert cost.expected == cost.compute + cost.storage + cost.network + cost.interruptions
    assert min(cost.compute, cost.storage, cost.network, cost.interruptions) >= 0
    assert cost.p90 > 0
