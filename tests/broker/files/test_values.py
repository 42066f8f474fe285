"""Durations, money and moments as people write them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.values import (
    parse_confidence,
    parse_count,
    parse_deadline,
    parse_duration_s,
    parse_flag,
    parse_money_usd,
    parse_number,
    parse_takes,
)
from mlbroker.profiles.job import Deadline, StatedTime


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6h", 21600),
        ("1h30m", 5400),
        ("90m", 5400),
        ("2d", 172800),
        ("45s", 45),
        ("1.5h", 5400),
        ("1d 2h 3m 4s", 93784),
        (" 6 h ", 21600),
        ("0.5s", 0.5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "6", "90:00", "h", "6 hours", "-6h", "+6h", "1e3s", "nan", ".inf", "inf h", "0h", "1m1h",
     "1h1h", "6H", "٦h", "99999d", "6h;rm", "1.h", ".5h", "1" * 400 + "s", "NO"],
)  # fmt: skip
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_duration_s(text)
    assert len(str(caught.value)) < 200


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_durations_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    text = f"{days}d{hours}h{minutes}m{seconds}s"
    assert parse_duration_s(text) == ((days * 24 + hours) * 60 + minutes) * 60 + seconds


@pytest.mark.parametrize(
    "text",
    ["2026-11-30T18:00+01:00", "2026-11-30 17:00Z", "2026-11-30T17:00:00UTC",
     "2026-11-30 17:00 UTC", "2026-11-30T07:00-10:00"],
)  # fmt: skip
def test_moments_are_kept_in_utc(text: str) -> None:
    assert parse_deadline(text) == Deadline(at=datetime(2026, 11, 30, 17, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-30T18:00", "no time zone"),
        ("2026-11-30", "no time zone"),
        ("2026-13-30T18:00Z", "not a date"),
        ("2026-11-30T18:00 Europe/Berlin", "not a date"),
        ("0001-01-01T00:00+23:59", "out of range"),
        ("9999-12-31T23:59-23:59", "out of range"),
        ("tomorrow", "not a duration"),
    ],
)
def test_other_moments_are_refused(text: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        parse_deadline(text)


@pytest.mark.parametrize(
    "text", ["25", "25 USD", "25USD", "25.00 usd", "$25", "$ 25", "USD 25", "$25 USD"]
)
def test_money(text: str) -> None:
    assert parse_money_usd(text) == Decimal(25)


@pytest.mark.parametrize("text", ["25 EUR", "€25", "25€", "£ 25", "CHF 25", "25 ¢", "USDT 25"])
def test_nothing_is_converted(text: str) -> None:
    with pytest.raises(InputError, match="not in US dollars"):
        parse_money_usd(text)


@pytest.mark.parametrize(
    "text", ["", "-5", "0", "0.00", "1e3", "1E3", ".nan", "inf", "1,000", "1_000", "$",
             "0x10", "٢٥", "5 5", "9" * 400, "-5 EUR"]
)  # fmt: skip
def test_what_is_no_money(text: str) -> None:
    with pytest.raises(InputError, match=r"not an amount|more than zero"):
        parse_money_usd(text)


@given(st.decimals(Decimal("0.01"), Decimal(999999), places=2))
def test_money_is_exact(amount: Decimal) -> None:
    assert parse_money_usd(f"{amount} USD") == amount


@pytest.mark.parametrize("text", ["0", "-1", "1e3", "1.5", "0x1", "1_0", "", "٣", "nan", "9" * 30])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(InputError):
        parse_count(text)


def test_counts_numbers_flags() -> None:
    assert parse_count("12000") == 12000
    assert parse_number("0.50") == Decimal("0.5")
    assert parse_confidence("0.95") == 0.95
    assert parse_flag("true")
    assert not parse_flag("False")


@pytest.mark.parametrize("text", ["0", "1", "90", "-0.5", "nan", "90%"])
def test_what_is_no_confidence(text: str) -> None:
    with pytest.raises(InputError):
        parse_confidence(text)


@pytest.mark.parametrize("text", ["NO", "yes", "on", "1", "0", "y", ""])
def test_what_is_no_flag(text: str) -> None:
    with pytest.raises(InputError, match="neither true nor false"):
        parse_flag(text)


def test_what_a_job_is_said_to_take() -> None:
    assert parse_takes("3h@g5.xlarge") == StatedTime(3 * 3600, "g5.xlarge")
    assert parse_takes(" 90m @ my-box ") == StatedTime(5400, "my-box")
    for text in ("3h", "@g5.xlarge", "3@g5.xlarge", "3h@", "3h@a b", "0h@a"):
        with pytest.raises(InputError) as refused:
            parse_takes(text)
        assert refused.value.what


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_duration_s, parse_money_usd, parse_deadline, parse_count, parse_takes):
        try:
            parse(text)
        except InputError as error:
            assert error.what  # noqa: PT017  # a refusal is one good outcome
