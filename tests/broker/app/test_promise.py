"""The cap with which nine runs of ten end is enough for them, whoever rents the machine."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mlbroker.broker.app.promise import enough_usd
from mlbroker.broker.clouds import opener
from mlbroker.broker.runs import launch
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.homeward import Homeward
from mlbroker.pricing.region import Region
from mlbroker.profiles.prediction import Quantiles


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure", "local"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    price=st.decimals(Decimal("0.01"), Decimal(40), places=4),
    hours=st.floats(0.01, 200.0),
    share=st.floats(0.05, 1.2),
    late_s=st.sampled_from([0, 180]),
    usd_per_gb=st.sampled_from([None, Decimal("0.09")]),
)
@example(price=Decimal("0.34"), hours=5.96, share=0.97, late_s=0, usd_per_gb=Decimal("0.09"))
def test_it_pays_for_these_and_how_late_a_machine_may_end(
    cloud: str,
    price: Decimal,
    hours: float,
    share: float,
    late_s: int,
    usd_per_gb: Decimal | None,
    tmp_path: Path,
) -> None:
    home = None if usd_per_gb is None or cloud == "local" else Homeward(usd_per_gb)
    bill = Bill.of(Region(cloud, "there"), price, 1, 50)
    option = LaunchOption(cloud, "there", "one", "on_demand", bill, home=home)
    sure_s = Decimal(hours * 3600)
    expected = Quantiles(hours / 2, hours * 0.9, hours)
    lifetime_s = sure_s * Decimal(share)
    enough = enough_usd(expected, option, lifetime_s, late_s, tmp_path)
    if enough is None:
        assert lifetime_s >= sure_s
        return
    traits = opener(tmp_path)(cloud).traits
    assert launch.worst_case(option, enough, traits, late_s).lifetime_s >= sure_s
    assert enough == round(enough, 2)


def test_of_what_nobody_knows_nothing_is_said(tmp_path: Path) -> None:
    bill = Bill.of(Region("local", "here"), Decimal(1), 1, 0)
    option = LaunchOption("local", "here", "one", "on_demand", bill)
    assert enough_usd(None, option, Decimal(1), 0, tmp_path) is None
