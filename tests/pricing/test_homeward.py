"""The way home of what a machine left: what is kept of a cap for it, and what each byte costs."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from mlbroker.pricing.billing import MICRO_USD
from mlbroker.pricing.homeward import UNASKED_GB, UNASKED_SHARE, Homeward

usd = st.decimals(0, 500, places=4)
byte_counts = st.integers(0, 10**13)
ways = st.builds(Homeward, st.decimals("0.001", 2, places=3), st.decimals(0, 100, places=3))


def test_nine_cents_a_gb_beyond_what_was_declared() -> None:
    way = Homeward(Decimal("0.09"), Decimal(2))
    assert way.usd(0, 2 * 10**9) == 0
    assert way.usd(0, 5 * 10**9) == Decimal("0.27")
    assert way.usd(10**9, 2 * 10**9) == Decimal("0.09")
    assert way.allowance_usd(Decimal(25)) == Decimal("0.009")
    assert way.allowance_usd(Decimal("0.05")) == Decimal("0.001")


def test_a_megabyte_is_not_reckoned() -> None:
    assert Homeward(Decimal("0.12")).usd(0, 10**6) == 0
    assert Homeward(Decimal("0.12")).usd(10**6, 1) == MICRO_USD


@given(ways, usd)
def test_no_more_is_kept_than_a_small_share(way: Homeward, cap_usd: Decimal) -> None:
    kept = way.allowance_usd(cap_usd)
    assert 0 <= kept <= cap_usd * UNASKED_SHARE
    assert kept <= UNASKED_GB * way.usd_per_gb


@given(ways, usd)
def test_the_least_cap_pays_for_the_machine(way: Homeward, machine_usd: Decimal) -> None:
    cap_usd = way.cap_usd(machine_usd)
    assert machine_usd <= cap_usd - way.allowance_usd(cap_usd) <= machine_usd + MICRO_USD


@given(ways, byte_counts, byte_counts)
def test_in_pieces_it_costs_no_less(way: Homeward, first: int, second: int) -> None:
    whole = way.usd(0, first + second)
    pieces = way.usd(0, first) + way.usd(first, second)
    assert whole <= pieces <= whole + MICRO_USD


@given(ways, usd)
def test_what_comes_for_so_much_costs_no_more(way: Homeward, paid_usd: Decimal) -> None:
    most = way.most_bytes(paid_usd)
    assert most is not None
    assert way.usd(0, most) <= paid_usd + MICRO_USD
    assert way.usd(0, most + 10**6) > paid_usd or paid_usd == 0
