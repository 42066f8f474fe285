"""Makes the data, in thirty parts."""

import csv
from pathlib import Path

from rows import DATA, PARTS, make, setting

STEPS = 300


def main() -> None:
    """Write all parts, a tenth of one at a step."""
    data = Path(DATA)
    data.mkdir(exist_ok=True)
    rows = setting("ROWS", 30_000) // STEPS
    for step in range(STEPS):
        number = step * PARTS // STEPS
        first = step % (STEPS // PARTS) == 0
        with (data / f"part-{number:02}.csv").open("w" if first else "a", newline="") as file:
            csv.writer(file).writerows(make(step, rows))
        print(f"step {step + 1}/{STEPS}", flush=True)


if __name__ == "__main__":
    main()
