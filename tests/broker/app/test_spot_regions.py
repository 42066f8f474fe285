"""Which regions a run under a spot policy may be in."""

from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

from tests.support.heard import Heard

from mlbroker.broker.app.spot_regions import MOST_OTHERS, Offered, other_regions
from mlbroker.broker.errors import CloudError, NothingFeasible
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.broker.runs.spot_options import in_order
from mlbroker.policies.candidates import Filters
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.offer import Market
from mlbroker.pricing.vendors import Meter
from mlbroker.profiles.job import Data, Job, ResourceOption

# What a run is expected to cost; none falls back in `steady`, and `nothing` has no machine.
USD = {"home": 1, "near": 3, "far": 2, "steady": 1, "nothing": 1, "dear": 9, "dearer": 10}
ANY = Filters()
JOB = Job("j", "true", data=Data(checkpoint_gb=Decimal(2)))


def option(region: str, market: str = "spot", usd: int = 1) -> LaunchOption:
    return LaunchOption("aws", region, "m5.large", market, Bill(Decimal(usd), 1, Meter()))


def offered(region: str) -> Offered:
    quote = SimpleNamespace(
        cloud="aws", instance_type="m5.large", market=Market.SPOT, region=region, option=0,
        traffic_usd=Decimal("0.18"),
        falls_back=None if region == "steady" else "on demand",
        cost_usd=SimpleNamespace(expected=USD[region]),
    )  # fmt: skip
    return Offered(option(region), cast("Any", quote))


def again(where: Filters) -> Any:
    (region,) = where.regions
    if region == "nothing":
        raise NothingFeasible("no machine")
    found = offered(region)
    first: Any = SimpleNamespace(cloud="aws", region=region, instance_type="m5.large",
                                 market=Market.ON_DEMAND, falls_back=None)  # fmt: skip
    if region != "far":
        return (found.option,), SimpleNamespace(quotes=[found.quote])
    # There on demand is the plan's choice.
    return (option(region, "on_demand"), found.option), SimpleNamespace(quotes=[first, found.quote])


class Cloud:
    def regions_set_up(self) -> frozenset[str]:
        return frozenset(USD)


class Closed:
    def regions_set_up(self) -> frozenset[str]:
        raise CloudError("no credentials")


def regions(
    job: Job = JOB, wanted: Filters = ANY, cloud: Any = Cloud
) -> tuple[list[str], list[str]]:
    heard = Heard()
    first = offered("home")
    found = other_regions(first, job, wanted, again, lambda _: cloud(), heard)
    return [each.option.region for each in found], heard.notes


def test_the_cheapest_others_where_it_falls_back_too() -> None:
    found, said = regions()
    assert found == ["far", "near", "dear"]
    assert len(found) == MOST_OTHERS
    assert "Traffic of each machine: 0.18 USD in home, 0.18 USD in far" in said[0]


def test_no_others_than_the_flags_and_the_job_let_be() -> None:
    assert regions(wanted=Filters(regions=("home", "dearer")))[0] == ["dearer"]
    assert regions(replace(JOB, resources=(ResourceOption(region="home"),))) == ([], [])
    assert regions(cloud=Closed) == ([], [])


def test_a_checkpoint_of_unknown_size_stays_and_that_is_said() -> None:
    found, said = regions(Job("j", "true"), Filters(regions=("far", "home")))
    assert found == []
    assert "spot stays in home" in said[0]
    assert said[0].endswith("also far.")


def test_on_demand_is_asked_for_behind_all_spot_where_it_is_cheapest() -> None:
    dear, cheap = option("home", "on_demand", 5), option("far", "on_demand", 4)
    spot = option("home", usd=2), option("far", usd=1)
    assert in_order((spot[0], dear, spot[1], cheap)) == (*spot, cheap, dear)
