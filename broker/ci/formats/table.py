"""The check as a table in the terminal."""

import contextlib
import io

from mlbroker.broker.ci.check import Check
from mlbroker.broker.ci.formats import words
from mlbroker.broker.cli.output import print_line, print_table

COLUMNS = ("job", "cost $", "change", "month $", "time", "in time", "kgCO2e", "basis", "machine")
RIGHT = ("cost $", "change", "month $", "time", "in time", "kgCO2e")
REASONS = 8


def render(check: Check) -> str:
    """The table as plain text."""
    captured = io.StringIO()
    with contextlib.redirect_stdout(captured):
        show(check)
    return captured.getvalue()


def show(check: Check) -> None:
    """Print it: touched jobs, why they changed, totals, crossed limits."""
    print_line(words.headline(check))
    touched = check.touched
    if touched:
        rows = [
            (
                f"{line.pair.path} ({line.pair.name})",
                words.cost(line),
                words.change(line),
                words.monthly(line),
                words.time(line),
                words.chance(line),
                words.carbon(line),
                words.basis(line),
                words.machine(line),
            )
            for line in touched
        ]
        print_table(COLUMNS, rows, right=RIGHT)
    for line in touched:
        problem = line.pair.problem
        if problem is not None:
            print_line(str(problem))
        elif line.head is not None and line.head.problem:
            print_line(f"{line.pair.path} ({line.pair.name}): {line.head.problem}")
        for reason in line.reasons[:REASONS]:
            print_line(f"{line.pair.path} ({line.pair.name}): {reason}")
        if len(line.reasons) > REASONS:
            print_line(f"{line.pair.path} ({line.pair.name}): … and more (--format json)")
    for crossing in check.crossed:
        pair = crossing.line.pair
        print_line(f"--{crossing.limit}: {pair.path} ({pair.name}) {crossing.message}")
    for text in (words.month_line(check), words.guessed_line(check), words.prices_line(check)):
        if text:
            print_line(text)
