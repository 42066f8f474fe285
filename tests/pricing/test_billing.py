"""Hours to money: figures worked out by hand from the vendors' rules."""

from dataclasses import replace
from decimal import ROUND_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.pricing import billing
from mlbroker.pricing.billing import HOURS_PER_MONTH, LONGEST_S, Bill
from mlbroker.pricing.region import Region
from mlbroker.pricing.vendors import VENDORS, Meter

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
    ("cloud", "seconds", "billed_s"),
    [
        ("aws", "1", 60),  # one minute at least
        ("gcp", "59.9", 60),
        ("aws", "60.1", 61),  # begun seconds count
        ("azure", "3600", 3600),
        ("local", "0.2", 1),  # no minimum on one's own machine
        ("a new one", "1", 60),  # counts as the strictest of those known
    ],
)
def test_machines_bill_in_begun_seconds_with_a_minimum(
    cloud: str, seconds: str, billed_s: int
) -> None:
    bill = Bill.of(Region(cloud, "r"), Decimal(3600), 2, 0)
    assert bill.machines_usd(Decimal(seconds)) == 2 * billed_s


def without_requests(bill: Bill) -> Bill:
    return replace(bill, requests_usd_per_hour=Decimal(0), requests_once_usd=Decimal(0))


def test_requests_to_the_bucket_are_in_every_hour_and_once() -> None:
    """By S3's dearest list: 7 USD for a million writes, 0.56 for a million reads."""
    million = Decimal(10**6)
    # In the hour: 120 writes, read once each; 360 times whether to stop; 120 reports read.
    an_hour = 120 * 7 / million + 600 * Decimal("0.56") / million
    # Once: 77 + 32 writes and 2 for the other machine; 77 + 61 + 192 + 2 reads, and 77 of writes.
    once = 111 * 7 / million + 409 * Decimal("0.56") / million
    bill = Bill.of(VIRGINIA, Decimal(1), 2, 100)
    bare = without_requests(bill)
    assert bill.usd(Decimal(7200)) - bare.usd(Decimal(7200)) == 2 * (2 * an_hour + once)
    assert bill.usd_per_hour - bare.usd_per_hour == 2 * an_hour
    assert bill.machines_usd(Decimal(7200)) == bare.machines_usd(Decimal(7200))
    worst, without = bill.worst_case(Decimal(3), 60), bare.worst_case(Decimal(3), 60)
    assert worst is not None
    assert without is not None
    assert worst.lifetime_s < without.lifetime_s
    assert worst.usd <= 3


def test_disk_by_the_second_and_by_the_hour() -> None:
    # 100 GB x 0.08 USD / 730 h, and the address.
    disk, address = Decimal(100) * Decimal("0.08") / 730, Decimal("0.005")
    bill = without_requests(Bill.of(VIRGINIA, Decimal(1), 3, 100))
    assert bill.storage_usd(Decimal(1800)) == pytest.approx(3 * (disk + address) / 2)
    azure = Region("azure", "eastus", None, None, Decimal("0.08"), address)
    bill = without_requests(Bill.of(azure, Decimal(1), 3, 100))
    p10 = Decimal(128) * Decimal("0.08") / 730
    assert bill.storage_usd(Decimal(1800)) == pytest.approx(3 * (p10 + address / 2))


@pytest.mark.parametrize(
    ("disk_gb", "usd_a_month"),
    # List prices of premium tiers in East US, where a P10 is 0.154 USD a GiB.
    [(30, "5.28"), (32, "5.28"), (50, "10.21"), (100, "19.71"), (128, "19.71")],
)
def test_a_disk_of_azure_is_billed_as_the_next_larger_tier(disk_gb: int, usd_a_month: str) -> None:
    east = Region("azure", "eastus", disk_usd_per_gb_month=Decimal("0.154"))
    month = Bill.of(east, Decimal(1), 1, disk_gb).disk_usd_per_hour * HOURS_PER_MONTH
    assert month == pytest.approx(Decimal(usd_a_month), abs=Decimal("0.005"))


@given(st.integers(1, 32767), st.integers(1, 32767))
def test_no_disk_is_billed_as_less_than_its_size_nor_a_larger_one_as_less(
    one: int, other: int
) -> None:
    east = Region("azure", "eastus", disk_usd_per_gb_month=Decimal("0.154"))
    less, more = (
        (Bill.of(east, Decimal(1), 1, disk_gb).disk_usd_per_hour * HOURS_PER_MONTH).quantize(
            Decimal("0.0001")
        )
        for disk_gb in sorted((one, other))
    )
    assert Decimal("0.154") * min(one, other) <= less <= more


def test_unknown_side_prices_are_the_usual_ones_not_nothing() -> None:
    bill = Bill.of(UNKNOWN, Decimal(1), 1, 100)
    assert bill.disk_usd_per_hour > 0
    assert bill.address_usd_per_hour > 0
    assert billing.egress_usd_per_gb(UNKNOWN) > 0
    assert billing.transfer_usd_per_gb(UNKNOWN, IOWA) > 0


def test_ones_own_machines_meter_nothing_beside_the_hours() -> None:
    own = Region("ssh", "on-prem")
    assert Bill.of(own, Decimal(1), 2, 500).usd_per_hour == 2
    assert billing.egress_usd_per_gb(own) == 0
    assert billing.transfer_usd_per_gb(own, VIRGINIA) == 0


def test_a_disk_billed_in_begun_hours_does_not_break_the_cap() -> None:
    """1,000 GB on Azure under 0.45 USD: by the second they would last 74 minutes, and bill 0.58."""
    bill = Bill.of(Region("azure", "eastus"), Decimal("0.192"), 1, 1000)
    by_the_second_s = Decimal("0.45") / bill.usd_per_hour * 3600
    assert bill.charge_usd(by_the_second_s) == pytest.approx(Decimal("0.58"), abs=Decimal("0.005"))
    worst = bill.worst_case(Decimal("0.45"), 60)
    assert worst is not None
    assert worst.lifetime_s == 3600 - 60  # the second begun hour of disk is not to be had
    # 0.192 for the machine, 0.168329 for its disk of 1,024 GB, 0.005 for its address, and requests.
    requests = bill.requests_usd_per_hour + bill.requests_once_usd
    assert worst.usd == Decimal("0.365329") + requests.quantize(billing.MICRO_USD, ROUND_UP)


@pytest.mark.parametrize(
    ("bill", "slack_s", "cap", "lifetime_s"),
    [
        (Bill(Decimal(3600), 1, Meter()), 2, "5", "3"),
        (Bill(Decimal(3600), 1, Meter()), 2, "2", None),
        (Bill(Decimal(3600), 1, Meter()), 0.5, "5", "4.5"),
        (Bill(Decimal(3600), 1, Meter(), once_usd=Decimal(1)), 2, "5", "2"),
        (Bill(Decimal(60), 1, Meter(Decimal(60))), 0, "0.5", None),
        (Bill(Decimal(60), 1, Meter(Decimal(60))), 0, "1", "60"),
        (Bill(Decimal(0), 1, Meter()), 0, "1", str(LONGEST_S)),
        (Bill(Decimal("0.0001"), 1, Meter()), 0, "1000", str(LONGEST_S)),
    ],
)
def test_the_kill_time_is_derived_from_the_cap(
    bill: Bill, slack_s: float, cap: str, lifetime_s: str | None
) -> None:
    worst = bill.worst_case(Decimal(cap), slack_s)
    assert (worst and worst.lifetime_s) == (None if lifetime_s is None else Decimal(lifetime_s))


MONEY = st.none() | st.decimals("0", "2", places=3)


@st.composite
def bills(draw: st.DrawFn) -> Bill:
    """Of any cloud, price, disk and number of machines."""
    region = Region(
        draw(st.sampled_from([*VENDORS, "a new one"])), "r",
        disk_usd_per_gb_month=draw(MONEY), public_ip_usd_per_hour=draw(MONEY),
    )  # fmt: skip
    price = draw(st.decimals("0.000001", "500", places=6))
    once = draw(st.just(Decimal(0)) | st.decimals("0", "10", places=6))
    nodes, disk_gb = draw(st.integers(1, 64)), draw(st.integers(0, 64_000))
    return Bill.of(region, price, nodes, disk_gb, once)


@given(
    bill=bills(),
    cap=st.decimals("0.000001", "1000", places=6),
    slack_s=st.floats(0, 600).map(lambda s: round(s, 3)),
    share=st.decimals("0", "1", places=4),
)
def test_what_is_reserved_is_never_less_than_what_is_billed(
    bill: Bill, cap: Decimal, slack_s: float, share: Decimal
) -> None:
    slack = Decimal(str(slack_s))
    worst = bill.worst_case(cap, slack_s)
    if worst is None:
        assert bill.charge_usd(slack + Decimal("0.001")) > cap  # not even for an instant
        return
    assert worst.usd <= cap
    most_s = worst.lifetime_s + slack
    for up_s in (share * most_s, worst.lifetime_s, most_s):
        assert bill.usd(up_s) <= bill.charge_usd(up_s) <= worst.usd
    # Not an instant longer would do.
    assert worst.lifetime_s == LONGEST_S or bill.charge_usd(most_s + Decimal("0.001")) > cap


@given(
    bill=bills(),
    cap=st.decimals("0.000001", "1000", places=6),
    slack_s=st.floats(0, 600).map(lambda s: round(s, 3)),
    step_s=st.sampled_from([1, 60, 3600]),
)
def test_a_life_in_steps_is_the_longest_of_them_under_the_cap(
    bill: Bill, cap: Decimal, slack_s: float, step_s: int
) -> None:
    slack = Decimal(str(slack_s))
    worst = bill.worst_case(cap, slack_s, step_s)
    if worst is None:
        assert bill.charge_usd(slack + step_s) > cap
        return
    assert worst.lifetime_s % step_s == 0
    assert worst.lifetime_s > 0
    assert worst.usd == bill.charge_usd(worst.lifetime_s + slack) <= cap
    longer_s = worst.lifetime_s + step_s
    assert longer_s > LONGEST_S or bill.charge_usd(longer_s + slack) > cap


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
    bill=bills(),
    shorter=st.decimals("0", "1e6", places=3),
    longer=st.decimals("0", "1e6", places=3),
)
def test_longer_never_costs_less(bill: Bill, shorter: Decimal, longer: Decimal) -> None:
    shorter, longer = sorted((shorter, longer))
    assert bill.charge_usd(shorter) <= bill.charge_usd(longer)
