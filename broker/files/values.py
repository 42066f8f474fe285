"""Durations, money, moments and numbers as people write them in job files and options."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import NoReturn, TypeVar

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.profiles.job import Deadline, StatedTime

T = TypeVar("T")

_UNIT_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"
_MAX_DURATION_S = 3650 * 86400.0
_DURATION_HINT = "write a number with its unit: 45s, 90m, 1h30m, 6h or 2d"


def parse_duration_s(text: str) -> float:
    """Seconds of `6h`, `1h30m`, `90m`, `2d`, `45s`: units from large to small, each once."""
    compact = text.strip().replace(" ", "")
    parts = re.findall(f"({_NUMBER})([dhms])", compact)
    units = "".join(unit for _, unit in parts)
    written = "".join(number + unit for number, unit in parts)
    if not parts or written != compact or re.fullmatch("d?h?m?s?", units) is None:
        _refuse(f"{quoted(text)} is not a duration", _DURATION_HINT)
    seconds = float(sum(Decimal(number) * _UNIT_SECONDS[unit] for number, unit in parts))
    if seconds == 0:
        _refuse("a duration must be more than zero", _DURATION_HINT)
    if seconds > _MAX_DURATION_S:
        _refuse(f"{quoted(text)} is more than ten years")
    return seconds


def parse_deadline(text: str) -> Deadline:
    """A duration from now, or a moment with time zone, which is kept in UTC."""
    stripped = text.strip()
    if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", stripped):
        return Deadline(at=_moment(stripped))
    return Deadline(duration_s=parse_duration_s(text))


def _moment(text: str) -> datetime:
    hint = "for example 2026-11-30T18:00+01:00 or 2026-11-30T17:00Z"
    try:
        moment = datetime.fromisoformat(re.sub(" ?UTC$", "Z", text))
    except ValueError:
        _refuse(f"{quoted(text)} is not a date and time", hint)
    if moment.tzinfo is None:
        _refuse(f"{quoted(text)} has no time zone", f"add one, {hint}")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        _refuse(f"{quoted(text)} is out of range", hint)


def parse_money_usd(text: str) -> Decimal:
    """US dollars of `25`, `25 USD`, `$25` or `USD 25`. No other currency is converted."""
    amount = parse_price_usd(text)
    if amount == 0:
        _refuse("the amount must be more than zero", "write 25 or 25.50 USD")
    return amount


def parse_price_usd(text: str) -> Decimal:
    """The same, or nothing: what is one's own may be free."""
    stripped = text.strip()
    found = re.fullmatch(rf"(?:(?:\$|USD)\s?)?({_NUMBER})(?:\s?USD)?", stripped, re.I | re.A)
    if found is None:
        currency = re.fullmatch(rf"([^\s0-9.]*)\s?{_NUMBER}\s?([^\s0-9.]*)", stripped)
        if currency and (currency[1] or currency[2]) and not re.search("[eE][0-9]", stripped):
            named = currency[1] or currency[2]
            if not named.startswith(("-", "+")):
                _refuse(
                    f"{quoted(text)} is not in US dollars",
                    "prices are in USD and nothing is converted: write an amount such as 25 USD",
                )
        _refuse(f"{quoted(text)} is not an amount of money", "write 25 or 25.50 USD")
    return Decimal(found[1])


def parse_value_of_time(text: str) -> Decimal:
    """USD for an hour of waiting, as `2 USD/h` or `2`."""
    return parse_price_usd(text.strip().removesuffix("/h"))


def parse_count(text: str, largest: int = 10**12) -> int:
    """A whole number from 1 to `largest`."""
    if re.fullmatch("[0-9]{1,20}", text.strip()) is None:
        _refuse(f"{quoted(text)} is not a whole number", "write digits only, for example 12000")
    count = int(text.strip())
    if not 1 <= count <= largest:
        _refuse(f"{quoted(text)} is not between 1 and {largest}")
    return count


def parse_number(text: str) -> Decimal:
    """A plain decimal number, zero or more."""
    if re.fullmatch(_NUMBER, text.strip()) is None:
        _refuse(f"{quoted(text)} is not a number", "write plain digits, for example 4 or 0.5")
    return Decimal(text.strip())


def parse_positive(text: str) -> Decimal:
    """A plain decimal number above zero."""
    value = parse_number(text)
    if not value:
        _refuse("must be more than zero")
    return value


def matching(pattern: str, what: str, hint: str | None = None) -> Callable[[str], str]:
    """Reads a text that must be of this pattern; one that is not "is not `what`"."""
    compiled = re.compile(pattern)

    def parse(text: str) -> str:
        if compiled.fullmatch(text) is None:
            _refuse(f"{quoted(text)} is not {what}", hint)
        return text

    return parse


parse_job_name = matching(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}",
    "a job name",
    "letters, digits, dot, dash and underscore, starting with a letter or digit",
)


def parse_confidence(text: str) -> float:
    """A probability between 0 and 1, both excluded."""
    value = float(parse_number(text))
    if not 0 < value < 1:
        _refuse(f"{quoted(text)} is not between 0 and 1", "write 0.9 for 90 %")
    return value


def parse_flag(text: str) -> bool:
    """`true` or `false`, nothing else: `NO` is a country and `on` a preposition."""
    if text.lower() not in ("true", "false"):
        _refuse(f"{quoted(text)} is neither true nor false", "write true or false")
    return text.lower() == "true"


def parse_hours_s(text: str) -> float:
    """Seconds of a plain number of hours above zero."""
    seconds = float(parse_positive(text)) * 3600
    if seconds > _MAX_DURATION_S:
        _refuse(f"{quoted(text)} hours are more than ten years")
    return seconds


def parse_takes(text: str) -> StatedTime:
    """`3h@g5.xlarge`: how long the whole work takes, and on which type of machine."""
    span, at, name = text.strip().partition("@")
    if not at:
        _refuse(
            f"{quoted(text)} names no machine", "say how long it takes, and where: 3h@g5.xlarge"
        )
    return StatedTime(parse_duration_s(span), parse_type(name.strip()))


def parse_type(text: str) -> str:
    """A type of machine, or a node, by its name."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,199}", text, re.A) is None:
        _refuse(f"{quoted(text)} is not the name of a type of machine", "for example g5.xlarge")
    return text


def parse_option(name: str, text: str | None, parse: Callable[[str], T]) -> T | None:
    """The value of the command-line option `name` through `parse`; None stays None."""
    if text is None:
        return None
    try:
        return parse(text)
    except InputError as error:
        raise InputError(error.what, where=name, hint=error.hint) from None


def _refuse(what: str, hint: str | None = None) -> NoReturn:
    raise InputError(what, hint=hint) from None
