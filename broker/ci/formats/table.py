"""The check as a table in the terminal."""

import contextlib
import io

from mlbroker.broker.ci.changes import Line
from mlbroker.broker.ci.check import Check
from mlbroker.broker.ci.formats import words
from mlbroker.broker.output import print_line, print_table

COLUMNS = ("job", "cost $", "change", "month $", "time", "in time", "kgCO2e", "basis", "machine")
RIGHT = ("cost $", "change", "month $", "time", "in time", "kgCO2e")
# Left out one after the other where the terminal is narrow: basis, month, CO2e, chance, machine.
SPARE = (7, 3, 6, 5, 8)
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
                _label(line),
                words.cost(line),
                words.change(line),
                words.monthly(line),
                words.time(line),
                words.chance(line),
                words.carbon(line),
                words.basis(line),
                words.machine_now(line),
            )
            for line in touched
        ]
        print_table(COLUMNS, rows, right=RIGHT, spare=SPARE)
    for line in touched:
        problem = line.pair.problem
        if problem is not None:
            print_line(str(problem))
        elif line.head is not None and line.head.problem:
            print_line(f"{_label(line)}: {line.head.problem}")
        for reason in line.reasons[:REASONS]:
            print_line(f"{_label(line)}: {reason}")
        if len(line.reasons) > REASONS:
            print_line(f"{_label(line)}: … and more (--format json)")
        machine = words.machine(line)
        if machine != words.machine_now(line):
            print_line(f"{_label(line)}: {machine}")
    for crossing in check.crossed:
        print_line(f"--{crossing.limit}: {_label(crossing.line)} {crossing.message}")
    for text in (words.month_line(check), words.guessed_line(check), words.prices_line(check)):
        if text:
            print_line(text)


def _label(line: Line) -> str:
    """The path of a job's file, with its name where the path does not tell it."""
    path, name = line.pair.path, line.pair.name
    return path if name in path else f"{path} ({name})"
