"""Hours to money: figures worked out by hand from the vendors' rules."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.pricing import billing
from mlbroker.pricing.region import Region

VIRGINIA = Region(
    "aws",
    "us-east-1",
    geography="us",
    disk_usd_per_gb_month=Decimal("0.08"),
    public_ip_usd_per_hour=Decimal("0.005"),
    egress_internet_usd_per_gb=Decimal("0.09"),
    egress_same_cloud_usd_per_gb=Decimal("0.02"),
    egress_far_usd_per_gb=Decimal("0.05"),
)
OREGON = Region("aws", "us-west-2", geography="us")
FRANKFURT = Region("aws", "eu-central-1", geography="eu")
IOWA = Region("gcp", "us-central1", geography="us")
UNKNOWN = Region("aws", "xx-new-1")


@pytest.mark.parametrize(
    ("cloud", "seconds", "hours"),
    [
        ("aws", "1", Decimal(60) / 3600),  # one minute at least
        ("gcp", "59.9", Decimal(60) / 3600),
        ("aws", "60.1", Decimal(61) / 3600),  # begun seconds count
        ("azure", "3600", Decimal(1)),
        ("local", "0.2", Decimal(1) / 3600),  # no minimum on one's own machine
    ],
)
def test_billed_hours(cloud: str, seconds: str, hours: Decimal) -> None:
    assert billing.billed_hours(cloud, Decimal(seconds)) == hours


def test_disk_by_the_second_and_by_the_hour() -> None:
    # 100 GB x 0.08 USD / 730 h, half an hour.
    half_hour = Decimal(100) * Decimal("0.08") / 730 / 2
    assert billing.disk_usd(VIRGINIA, 100, Decimal(1800)) == pytest.approx(half_hour)
    azure = Region("azure", "eastus", disk_usd_per_gb_month=Decimal("0.08"))
    assert billing.disk_usd(azure, 100, Decimal(1800)) == pytest.approx(half_hour * 2)


def test_unknown_side_prices_are_the_usual_ones_not_nothing() -> None:
    assert billing.disk_usd_per_hour(UNKNOWN, 100) > 0
    assert billing.public_ip_usd_per_hour(UNKNOWN) > 0
    assert billing.egress_usd_per_gb(UNKNOWN) > 0
    assert billing.transfer_usd_per_gb(UNKNOWN, IOWA) > 0


def test_ones_own_machines_meter_nothing_beside_the_hours() -> None:
    own = Region("ssh", "on-prem")
    assert billing.disk_usd_per_hour(own, 500) == 0
    assert billing.public_ip_usd_per_hour(own) == 0
    assert billing.egress_usd_per_gb(own) == 0
    assert billing.transfer_usd_per_gb(own, VIRGINIA) == 0


@pytest.mark.parametrize(
    ("source", "target", "usd_per_gb"),
    [
        (None, VIRGINIA, "0"),  # into a cloud is free
        (VIRGINIA, VIRGINIA, "0"),
        (VIRGINIA, OREGON, "0.02"),  # same cloud, same geography
        (VIRGINIA, FRANKFURT, "0.05"),  # same cloud, far
        (VIRGINIA, IOWA, "0.09"),  # another cloud is the internet
    ],
)
def test_the_sender_pays_for_traffic(
    source: Region | None, target: Region, usd_per_gb: str
) -> None:
    assert billing.transfer_usd_per_gb(source, target) == Decimal(usd_per_gb)


@given(
    cloud=st.sampled_from(["aws", "gcp", "azure", "ssh"]),
    shorter=st.decimals("0", "1e6", places=3),
    longer=st.decimals("0", "1e6", places=3),
)
def test_longer_never_costs_less(cloud: str, shorter: Decimal, longer: Decimal) -> None:
    shorter, longer = sorted((shorter, longer))
    assert billing.billed_hours(cloud, shorter) <= billing.billed_hours(cloud, longer)
    region = Region(cloud, "r")
    assert billing.disk_usd(region, 10, shorter) <= billing.disk_usd(region, 10, longer)
