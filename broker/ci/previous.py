"""Reads the JSON of an earlier check, to compare against."""

import json
from pathlib import Path

from mlbroker.broker.ci.priced import PricedJob, priced_from
from mlbroker.broker.errors import InputError

_HINT = "write one with `mlbroker check --format json --output FILE`"


def read_previous(path: Path) -> tuple[dict[tuple[str, str], PricedJob], str]:
    """(path, name) -> the job's side then, and the snapshot of the prices it was made with."""
    where = str(path)
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=where) from None
    except (ValueError, RecursionError):
        raise InputError("is not JSON", where=where, hint=_HINT) from None
    if not isinstance(document, dict) or document.get("schema") != "mlbroker.check/1":
        raise InputError("is not a saved check (mlbroker.check/1)", where=where, hint=_HINT)
    try:
        sides = {
            (str(entry["path"]), str(entry["name"])): side
            for entry in document["jobs"]
            if (side := priced_from(entry, "head")) is not None
        }
        return sides, str(document["prices"]["snapshot"])
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InputError(f"is damaged: {error}", where=where, hint=_HINT) from None
