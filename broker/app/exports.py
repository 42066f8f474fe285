"""The books for other tools: charges as FOCUS and as OpenCost, and metrics for Prometheus."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from mlbroker.broker.app.ledger import RunFilter, selected
from mlbroker.broker.app.sources import with_nodes
from mlbroker.broker.errors import InputError
from mlbroker.broker.exports.charges import Charge, charges
from mlbroker.broker.exports.focus import Row, focus_rows
from mlbroker.broker.exports.opencost import allocations
from mlbroker.broker.exports.prometheus import metrics_text
from mlbroker.broker.guest import box as files
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.prices.price_book import open_book


def focus(state: Path, wanted: RunFilter) -> list[Row]:
    """The charges that are wanted, a FOCUS row each."""
    return focus_rows(_charged(state, wanted))


def opencost(state: Path, wanted: RunFilter) -> dict[str, Any]:
    """The same as OpenCost's allocation API answers."""
    found = _charged(state, wanted)
    hardware = {}
    if found:
        book = with_nodes(open_book(state), state, None)
        hardware = {(kind.cloud, kind.name): kind.hardware for _, _, kind in book.types()}
    return allocations(found, lambda cloud, name: hardware.get((cloud, name)))


def metrics(state: Path) -> str:
    """The books as Prometheus' text."""
    ledger = open_ledger(state)
    return metrics_text(ledger.runs(), ledger.head()[0])


def write_metrics(text: str, path: Path) -> None:
    """Replace the file as a whole: a collector reads the old text or the new, never a part."""
    try:
        files.write(str(path.parent), path.name, text, durable=False)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", where=str(path)) from None


def _charged(state: Path, wanted: RunFilter) -> list[Charge]:
    """A charge is of the month in which it begins, whenever its run was reserved."""
    month = wanted.month
    found = charges(selected(state, replace(wanted, month=None)))
    if month is None:
        return list(found)
    wanted.check_month()
    return [charge for charge in found if f"{charge.start:%Y-%m}" == month]
