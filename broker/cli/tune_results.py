"""What comes of a study: its best, its trials for others, its end."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mlbroker.broker.app.tune import shown
from mlbroker.broker.app.tune_lanes import open_lanes
from mlbroker.broker.cli import options
from mlbroker.broker.cli import stop as stop_run
from mlbroker.broker.cli.new_file import write_file
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.values import matching, parse_option
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.home import home
from mlbroker.broker.output import csv_text, print_csv, print_json, print_line, say
from mlbroker.broker.tuning.record import StudyFolder

NAMED = matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "the name of a study")
KINDS = ("csv", "optuna")
Name = Annotated[str, typer.Argument(help="The study, by its name.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]


def best(
    name: Name,
    env: Annotated[bool, typer.Option("--env", help="As flags of plan, run and check.")] = False,
    job: Annotated[
        Path | None, typer.Option(help="Write the job file with them, beside the study's own.")
    ] = None,
    force: Force = False,
    json: options.Json = False,
) -> None:
    """Print the best trial's variables, or write its job file."""
    folder = _folder(name)
    found = shown(home(), name)["best"]
    if job is not None:
        from mlbroker.broker.app.tune_export import best_job_text

        write_file(job, best_job_text(folder, job, Terminal()), force)
        say(f"Wrote {job}: mlbroker plan {shlex.quote(str(job))}")
    if json:
        print_json({"schema": "mlbroker.tune-best/1", "study": name, "best": found})
    elif found is None:
        say("No trial has told its metric yet.")
    elif job is None or env:
        pairs = [shlex.quote(f"{key}={value}") for key, value in found["env"].items()]
        print_line(" ".join(f"--env {pair}" for pair in pairs) if env else "\n".join(pairs))


def export(
    name: Name,
    to: Annotated[str, typer.Option(help="csv, or optuna: a storage in a SQLite file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; csv: else stdout.")
    ] = None,
    force: Force = False,
) -> None:
    """Write the trials of a study, as a table or for Optuna."""
    if to not in KINDS:
        raise InputError(f"{quoted(to)} is none", where="--to", hint=nearest_hint(to, KINDS))
    from mlbroker.broker.app.tune_export import table, write_optuna

    folder = _folder(name)
    if to == "optuna":
        if output is None:
            raise InputError("a storage is a file", where="--to optuna", hint="-o FILE")
        write_optuna(folder, output, force)
    else:
        columns, rows = table(folder)
        if output is None:
            print_csv(rows, columns)
            return
        write_file(output, csv_text(rows, columns), force)
    say(f"Wrote {output}.")


def stop(name: Name) -> None:
    """Stop what works on a study; it can be resumed."""
    folder = _folder(name)
    at_work = [run.run_id for run in open_lanes(folder, home())]
    if not at_work:
        say(f"Nothing works on study {name}.")
        return
    stop_run.command(at_work)


def write_page(name: str, path: Path) -> None:
    """The page of a study, into this file."""
    from mlbroker.broker.app.tune_export import state_of
    from mlbroker.broker.report.tune_page import tune_page
    from mlbroker.broker.tuning.importance import importance_of

    told, found = shown(home(), name), _folder(name).load()
    states = [state_of(each, found.study.most) for each in found.trials]
    write_file(path, tune_page(told, found, states, importance_of(found)), force=True)


def _folder(name: str) -> StudyFolder:
    """The study of this name; InputError where there is none."""
    folder = StudyFolder.of(home(), parse_option("NAME", name, NAMED) or name)
    folder.terms()
    return folder
