"""A proof's report, completed by what the vendor bills for its run."""

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from mlbroker.broker.guest import box as files
from mlbroker.broker.runs.folder import RunFolder

REPORT = "proof.json"


def completed(state: Path, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Add what the vendor bills to the reports of these runs; tells which were completed."""
    for row in rows:
        folder = RunFolder.of(state, str(row["run_id"])).path
        if row["billed_usd"] is None or not (folder / REPORT).exists():
            continue
        report = json.loads((folder / REPORT).read_text())
        claim = "the vendor bills no more than the cap"
        kept = [one for one in report["findings"] if one["claim"] != claim]
        finding = {
            "claim": claim,
            "ok": Decimal(row["billed_usd"]) <= Decimal(report["cap_usd"]),
            "says": f"{row['billed_usd']} USD billed, {row['ledger_usd']} in the ledger",
            "measured_s": None,
            "limit_s": None,
        }
        files.write_json(str(folder), REPORT, {**report, "findings": [*kept, finding]})
        yield str(row["run_id"])
