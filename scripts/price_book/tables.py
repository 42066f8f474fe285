"""Reading the source tables of the embedded book into plain rows."""

import math
import re
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read_table(folder: Path, name: str) -> list[Row]:
    """A Parquet or CSV table as plain rows; an absent value is None."""
    import pandas as pd  # a developer's command: the product never loads it for this

    path = folder / name
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    records: list[Row] = frame.to_dict("records")  # type: ignore[assignment]  # keys are names
    return [{key: _plain(value) for key, value in record.items()} for record in records]


def _plain(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.item() if hasattr(value, "item") else value


def iso_day(value: object) -> str:
    """The first day that a date of the sources can mean: "2025 (undated)" is 2025-01-01."""
    match = re.match(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?", str(value))
    if not match:
        raise ValueError(f"no date in {value!r}")
    year, month, day = match.groups()
    return f"{year}-{month or '01'}-{day or '01'}"
