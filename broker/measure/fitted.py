"""Keeps what was learnt from the history for predictions, so that no plan has to learn it."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mlbroker.broker.measure.store import MeasurementStore

FILE = "fitted.json"
SCHEMA = "mlbroker.fitted/1"


def relearn(home: Path) -> None:
    """Fit anew to all measurements; called whenever they change."""
    from mlbroker.broker.prices.price_book import open_book
    from mlbroker.policies.planner.book import fill_hardware
    from mlbroker.profiles.estimators.transfer import learn

    rows = MeasurementStore(home).all()
    if len({row.group or row.job for row in rows}) < 2:
        (home / FILE).unlink(missing_ok=True)
        return
    fitted = learn(fill_hardware(open_book(home, None), rows))
    fresh = home / f"{FILE}.{os.getpid()}"
    fresh.write_text(json.dumps({"schema": SCHEMA, "hyper": fitted}) + "\n", encoding="utf-8")
    fresh.replace(home / FILE)


def learnt(home: Path) -> Mapping[str, float]:
    """What was learnt last; nothing where nothing was, or where the file is damaged."""
    with suppress(OSError, ValueError):
        document = json.loads((home / FILE).read_text(encoding="utf-8"))
        if isinstance(document, dict) and document.get("schema") == SCHEMA:
            hyper = document.get("hyper")
            if isinstance(hyper, dict):
                return {k: float(v) for k, v in hyper.items() if isinstance(v, int | float)}
    return {}
