"""The registry of commands: name -> where it lives and what it is for.

A module named here has a function `command` (one command) or a `typer.Typer` named `app`
(a group of commands). README's table of commands is generated from this registry.
"""

from typing import NamedTuple


class Command(NamedTuple):
    """A command's module under `mlbroker.broker.cli` and its one-line help."""

    module: str
    help: str


COMMANDS: dict[str, Command] = {
    "init": Command("init", "Write a first job file for the project in this folder."),
    "profile": Command("profile", "Measure the job's step time, within its own spending cap."),
    "plan": Command("plan", "Name the cheapest machine that meets the deadline, and why."),
    "advise": Command("advise", "Say what wastes the job's time and money, a GPU included."),
    "export": Command("export", "Write the chosen machine and the job as another tool's file."),
    "run": Command("run", "Run the job on the chosen machine under a hard budget cap."),
    "tune": Command("tune", "Tune the job: a study of many trials under one hard cap."),
    "submit": Command("submit", "Hand a job in: it starts when a place is free and its turn."),
    "queue": Command("queue", "Show who waits for a place, in which order, and why."),
    "service": Command("service", "Hold the cap of a service that runs: guard, status, stop."),
    "ps": Command("ps", "List runs and their machines."),
    "logs": Command("logs", "Show a run's output."),
    "stop": Command("stop", "Stop a run and account for it."),
    "reconcile": Command("reconcile", "Make machines and ledger agree, and say what was done."),
    "ledger": Command("ledger", "Show what was reserved and spent, by whom, on what."),
    "report": Command("report", "Report what was spent and saved, and what the month comes to."),
    "metrics": Command("metrics", "Write the books as metrics, for Prometheus' file collector."),
    "ui": Command("ui", "Show runs, report and plan in a browser, as they change."),
    "policy": Command("policy", "Look at the policy file's effect: which rule hits a job."),
    "approve": Command("approve", "Approve one run above the amount that the policy lets pass."),
    "prices": Command("prices", "Look at the price book: show, refresh, import, export; quotas."),
    "spot": Command("spot", "Say what is believed of a type's spot machines, and from what."),
    "check": Command("check", "Price what a change does to jobs, for CI and review."),
    "backtest": Command("backtest", "Try the choice on a table of measured runs: at what cost?"),
    "replay": Command("replay", "Try policies on a recorded trace of spot machines or requests."),
    "doctor": Command("doctor", "Check this machine and a cloud's account, and say what to do."),
    "schema": Command("schema", "Print the JSON Schema of job files and of mlbroker's output."),
}
