"""The fields of a Measurement, once: how a table's cell is read and written, and what is stored."""

import json
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from mlbroker.pricing.offer import Gpu, Hardware, Market
from mlbroker.profiles.measurement import Status


class Column(NamedTuple):
    """One field. `read` takes what a user wrote in a cell, and raises ValueError in words.

    `store` makes of a value what SQLite and JSON hold, `restore` the value of that; None: it is
    held as it is. A cell is written as the text of what is stored.
    """

    read: Callable[[str], Any]
    store: Callable[[Any], Any] | None = None
    restore: Callable[[Any], Any] | None = None


def stored(name: str, value: Any) -> Any:
    """What the store keeps of a field's value; None where nothing is known."""
    store = FIELDS[name].store
    return value if value is None or store is None else store(value)


def finite(text: str) -> float:
    """A finite number; ValueError for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        raise ValueError(f"{text!r} is not a number")
    return value


def _positive(text: str) -> float:
    value = finite(text)
    if value <= 0:
        raise ValueError(f"{text} is not above zero")
    return value


def _not_negative(text: str) -> float:
    value = finite(text)
    if value < 0:
        raise ValueError(f"{text} is below zero")
    return value


def _whole(text: str) -> int:
    value = finite(text)
    if value != int(value):
        raise ValueError(f"{text} is not a whole number")
    return int(value)


def _count(text: str) -> int:
    value = _whole(text)
    if value < 1:
        raise ValueError(f"{text} is not above zero")
    return value


def _price(text: str) -> Decimal:
    _positive(text)
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number") from None


def _one_of(kind: type[StrEnum], noun: str) -> Callable[[str], StrEnum]:
    def read(text: str) -> StrEnum:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"{text!r} is no {noun}; use {' or '.join(kind)}") from None

    return read


def _instant(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"{text} has no time zone; add Z or an offset")
    return value


def _yes_no(text: str) -> bool:
    if text not in {"0", "1", "true", "false", "True", "False"}:
        raise ValueError(f"{text!r} is neither 0 nor 1")
    return text in {"1", "true", "True"}


def _pairs(text: str) -> dict[str, str]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("this is not a JSON object")
    return {str(key): str(value) for key, value in document.items()}


def _mapping_text(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), sort_keys=True)


def _hardware_text(hardware: Hardware) -> str:
    """Hardware as one line of JSON. Unknown figures are left out."""
    document = {k: v for k, v in hardware._asdict().items() if v is not None}
    if hardware.gpu is not None:
        document["gpu"] = {k: v for k, v in hardware.gpu._asdict().items() if v is not None}
    return json.dumps(document, sort_keys=True)


# Imported tables repeat the same prices, machines and features in every job: each text is read
# once.
@lru_cache(maxsize=4096)
def _hardware(text: str) -> Hardware:
    try:
        document = json.loads(text)
        gpu = document.pop("gpu", None)
        return Hardware(gpu=Gpu(**gpu) if gpu else None, **document)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not a description of hardware: {error}") from None


@lru_cache(maxsize=65536)
def _mapping(text: str) -> dict[str, Any]:
    return dict(json.loads(text))


_decimal = lru_cache(maxsize=65536)(Decimal)
_WORDS = Column(str)
_COUNT = Column(_count)
_AMOUNT = Column(_positive)
_PAIRS = Column(_pairs, _mapping_text, _mapping)

# In the order of Measurement's constructor, which is the order of the store's columns.
FIELDS: dict[str, Column] = {
    "job": _WORDS,
    "config": _WORDS,
    "time_s": Column(_positive, float),
    "price_per_hour_usd": Column(_price, str, _decimal),
    "group": _WORDS,
    "cloud": _WORDS,
    "region": _WORDS,
    "instance_type": _WORDS,
    "nodes": _COUNT,
    "market": Column(_one_of(Market, "market"), str, Market),
    "batch_size": _COUNT,
    "steps": _COUNT,
    "status": Column(_one_of(Status, "status"), str, Status),
    "reason": _WORDS,
    "rep": Column(_whole),
    "features": _PAIRS,  # in tables, each has a column of its own
    "hardware": Column(_hardware, _hardware_text, _hardware),
    "sigma_log": Column(_not_negative),
    "overhead_s": Column(_not_negative, float),
    "peak_memory_gib": _AMOUNT,
    "peak_gpu_memory_gib": _AMOUNT,
    "gpu_used": Column(_yes_no, int, bool),
    "fingerprint": _WORDS,
    "measured_at": Column(_instant, datetime.isoformat, datetime.fromisoformat),
    "extra": _PAIRS,
    "facts": _PAIRS,
}
