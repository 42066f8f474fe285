"""The README's figures, taken from the pages that the measuring commands write."""

import re
from pathlib import Path

from markers import table

DOCS = Path(__file__).parents[1] / "docs"

# What it is, the page and the words that hold it, how to say it, the command that measures it.
_FIGURES = (
    (
        "A warm `plan` over the whole price book",
        "benchmarks.md",
        r"\| `mlbroker plan JOB`, warm, against the bare imports \| ([\d.]+) times",
        "{} times `python -c 'import typer, rich, pydantic, yaml'`",
        "make bench",
    ),
    (
        "A `check` of 300 jobs, 20 of them changed",
        "benchmarks.md",
        r"\| `check` of 300 jobs, 20 of them changed, against one `plan` \| ([\d.]+) times",
        "{} times one `plan`",
        "make bench-check",
    ),
    (
        "Predicted against real duration of a steady job, from a tenth of its steps",
        "benchmarks.md",
        r"\| steady \| ([\d.]+%) \| ([\d.]+%)",
        "median error {}, nine in ten below {}",
        "make bench-profile",
    ),
    (
        "All-in cost, probes and run of 8 h, on others' measurements",
        "benchmarks.md",
        r"At 8 h: (\d+%) below the best usual strategy",
        "{} below the best usual strategy",
        "make backtest",
    ),
    (
        "`kill -9` of clients and reconcilers at random moments",
        "reliability.md",
        r"random boundaries \(simulated vendor\) \| rounds ([\d,]+), kills ([\d,]+), "
        r"leaks (\d+), double launches (\d+)",
        "{} runs, {} kills: {} machines leaked, {} launched twice",
        "make campaign",
    ),
)


def figures() -> str:
    """One row a figure; raises SystemExit when a page no longer holds it."""
    rows = []
    for what, page, pattern, says, command in _FIGURES:
        found = re.search(pattern, (DOCS / page).read_text(encoding="utf-8"))
        if found is None:
            raise SystemExit(f"docs/{page} no longer says: {what}")
        rows.append([what, says.format(*found.groups()), f"`{command}`"])
    return table(["what", "measured", "with"], rows)
