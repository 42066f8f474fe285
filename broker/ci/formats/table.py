"""The check as a table in the terminal."""

import contextlib
import io

from mlbroker.broker.ci.changes import JobChange
from mlbroker.broker.ci.check import CostCheck
from mlbroker.broker.ci.formats import words
from mlbroker.broker.output import in_a_line, print_line, print_table

COLUMNS = ("job", "cost $", "change", "month $", "time", "in time", "kgCO2e", "basis", "machine")
RIGHT = ("cost $", "change", "month $", "time", "in time", "kgCO2e")
# Left out one after the other where the terminal is narrow: basis, month, CO2e, chance, machine.
SPARE = (7, 3, 6, 5, 8)
REASONS = 8


def render(check: CostCheck) -> str:
    """The table as plain text."""
    captured = io.StringIO()
    with contextlib.redirect_stdout(captured):
        show(check)
    return captured.getvalue()


def show(check: CostCheck) -> None:
    """Print it: touched jobs, why they changed, totals, crossed limits."""
    print_line(words.headline(check))
    touched = check.touched
    if touched:
        rows = [
            (
                _label(job),
                words.cost(job),
                words.change(job),
                words.monthly(job),
                words.time(job),
                words.chance(job),
                words.carbon(job),
                words.basis(job),
                words.machine_now(job),
            )
            for job in touched
        ]
        print_table(COLUMNS, rows, right=RIGHT, spare=SPARE)
    for job in touched:
        problem = job.pair.problem
        if problem is not None:
            print_line(str(problem))
        elif job.head is not None and job.head.problem:
            print_line(f"{_label(job)}: {job.head.problem}")
        for reason in job.reasons[:REASONS]:
            print_line(f"{_label(job)}: {reason}")
        if len(job.reasons) > REASONS:
            print_line(f"{_label(job)}: … and more (--format json)")
        machine = words.machine(job)
        if machine != words.machine_now(job):
            print_line(f"{_label(job)}: {machine}")
    for crossing in check.crossed:
        print_line(f"--{crossing.limit}: {_label(crossing.job)} {crossing.message}")
    for limit in check.unjudged:
        print_line(f"--{limit.limit}: {_label(limit.job)} {limit.message}")
    for text in (words.month_line(check), words.unknown_line(check), words.prices_line(check)):
        if text:
            print_line(text)


def _label(job: JobChange) -> str:
    """The path of a job's file, with its name where the path does not tell it."""
    path, name = job.pair.path, job.pair.name
    return in_a_line(path if name in path else f"{path} ({name})")
