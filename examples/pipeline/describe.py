"""Means and spreads of the features, for people to look at."""

import json
import statistics
from pathlib import Path

from rows import PARTS, part


def main() -> None:
    """One step a part."""
    found = []
    for number in range(PARTS):
        columns = list(zip(*(features for features, _ in part(number)), strict=True))
        found.append([[statistics.fmean(c), statistics.stdev(c)] for c in columns])
        print(f"step {number + 1}/{PARTS}", flush=True)
    Path("described.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
