"""Times, money, counts and sizes in words: for people, and exactly for JSON and the books."""

import math
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

CENT = Decimal("0.01")


def span(seconds: float) -> str:
    """A span of time in the unit that suits it, to three digits."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    if seconds < 6000:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:,.3g} h" if seconds < 3.6e6 else f"{seconds / 3600:,.0f} h"


def figure(number: float) -> str:
    """To four digits, and never as a power of ten."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"


def count(number: int, what: str) -> str:
    """1 step, 2 steps."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def size(of_bytes: int) -> str:
    """Of a file, in the unit that suits it."""
    return f"{of_bytes / 1e6:,.1f} MB" if of_bytes >= 1e6 else f"{of_bytes / 1e3:,.1f} kB"


def mass(kg: float) -> str:
    """To two digits, and never as a power of ten: 63 mg, 4.8 g, 0.24 kg, 1,200 kg."""
    number, unit = (
        (kg * 1e6, "mg") if 0 < kg < 1e-3 else (kg * 1e3, "g") if 0 < kg < 0.1 else (kg, "kg")
    )
    return f"{Decimal(f'{number:.2g}'):,f} {unit}"


def duration(seconds: float, least: bool = False) -> str:
    """Seconds for people: 42s, 12m, 3h20m, 4d6h. What is needed at least is rounded up."""
    whole = math.ceil if least else round
    if seconds < 90:
        return f"{whole(seconds)}s"
    if seconds < 5400:
        return f"{whole(seconds / 60)}m"
    if seconds < 48 * 3600:
        hours, minutes = divmod(whole(seconds / 60), 60)
        return f"{hours}h{minutes:02d}m"
    days, hours = divmod(whole(seconds / 3600), 24)
    return f"{days}d{hours}h"


def money(amount: Decimal, least: bool = False) -> str:
    """US dollars with as many digits as matter. What is needed at least is rounded up."""
    size = abs(amount)
    if size >= 10 * CENT or amount == 0:
        digit = CENT
    elif size >= CENT / 10 - CENT / 200:  # what is rounded to a tenth of a cent
        digit = CENT / 100
    else:
        digit = Decimal(1).scaleb(size.adjusted() - 1)
    return f"{amount.quantize(digit, ROUND_CEILING if least else ROUND_HALF_EVEN):,f}"


def exact_usd(amount: Decimal) -> str:
    """US dollars to the last digit that is known, as the books and JSON hold them."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def charged_usd(amount: Decimal, *, at_most: bool) -> str:
    """The same of what was charged, where nobody may tell what it really was."""
    return f"{'at most ' if at_most else ''}{exact_usd(amount)}"


def exact_usd_or_none(amount: Decimal | None) -> str | None:
    """The same, where it may be unknown."""
    return None if amount is None else exact_usd(amount)


def stopwatch(seconds: float) -> str:
    """Time that runs while one looks on: 0:59:01."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def utc_second(at: datetime) -> str:
    """A moment as documents hold it."""
    return at.astimezone(UTC).isoformat(timespec="seconds")


def local_time(at: datetime) -> str:
    """By the reader's clock, with the date when it is not today's."""
    here = at.astimezone()
    today = datetime.now().astimezone().date() == here.date()
    return f"{here:%H:%M:%S}" if today else f"{here:%Y-%m-%d %H:%M}"
