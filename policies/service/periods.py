"""The periods that budgets are for: months and days of UTC, and spans of one length."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial

from mlbroker.policies.service.interface import Period

DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_month(moment_ms: int) -> Period:
    """The calendar month; UTC knows no summer time, so that none has an hour more or less."""
    return _month_of(moment_ms // DAY_MS)


@lru_cache(maxsize=1024)  # asked several times a look, and a month of looks is played again
def _month_of(day: int) -> Period:
    first = (_EPOCH + timedelta(days=day)).replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    return Period(_ms(first), _ms(following))


def utc_day(moment_ms: int) -> Period:
    """The day."""
    return _span(DAY_MS, 0, moment_ms)


def spans_of(length_ms: int, first_ms: int) -> Callable[[int], Period]:
    """Spans of one length, one after the other, of which one starts at `first_ms`."""
    return partial(_span, length_ms, first_ms)


def _span(length_ms: int, first_ms: int, moment_ms: int) -> Period:
    start = moment_ms - (moment_ms - first_ms) % length_ms
    return Period(start, start + length_ms)


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
