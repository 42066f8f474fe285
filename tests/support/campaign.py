"""Sizes of campaigns: short beside the other tests, full with CAMPAIGN=full (`make campaign`)."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FULL = os.environ.get("CAMPAIGN") == "full"


def size(short: int, full: int) -> int:
    return full if FULL else short


@contextmanager
def figures(name: str) -> Iterator[dict[str, Any]]:
    """What a campaign came to; a full one leaves it in CAMPAIGN_FIGURES, one file each."""
    began = time.monotonic()
    kept: dict[str, Any] = {}
    yield kept
    kept["seconds"] = round(time.monotonic() - began, 1)
    folder = os.environ.get("CAMPAIGN_FIGURES")
    if FULL and folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.json").write_text(json.dumps(kept, indent=2))
