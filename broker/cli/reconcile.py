"""`mlbroker reconcile`: make machines and ledger agree, and say what was done."""

from dataclasses import asdict
from typing import Annotated

import typer

from mlbroker.broker.cli.options import Json
from mlbroker.broker.clouds import opener
from mlbroker.broker.errors import CloudError, MlbrokerError
from mlbroker.broker.home import home
from mlbroker.broker.ledger import Run, State, open_ledger
from mlbroker.broker.output import print_json, say, warn
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.reconcile import Did, Reconciler
from mlbroker.broker.runs.view import View

_WORDS = {
    Did.SETTLED: "settled run {what}: {detail}",
    Did.STILL_RUNNING: "run {what} goes on {detail}",
    Did.WAITING: "run {what} goes on: {detail}",
    Did.ATTENDED: "run {what} is {detail}",
    Did.ELSEWHERE: "run {what} is {detail}",
    Did.ORPHAN_ENDED: "ended machine {what} {detail}",
    Did.FOREIGN: "machine {what} {detail}",
    Did.UNREACHABLE: "could not reach {what}: {detail}",
    Did.FAILED: "could not deal with {what}: {detail}",
}


class _Aloud(View):
    """Says what takes its time, and what needs attention."""

    def moved(self, run: Run) -> None:
        """A step was taken."""
        if run.state is State.ENDED:
            where = f"{run.attempt.instance_type} on {run.attempt.cloud}"
            say(f"run {run.run_id} is over ({run.attempt.why}): ending {where} …")

    def warn(self, text: str) -> None:
        """Something needs attention."""
        warn(text)


Adopt = Annotated[
    bool, typer.Option("--adopt", help="Take over a copied ledger whose original is gone.")
]


def command(adopt: Adopt = False, json: Json = False) -> None:
    """Make machines and ledger agree, and say what was done.

    Machines of runs that are over are ended; runs whose process died are settled, or left
    running under their cap. Machines of others are left alone.
    """
    findings = []
    state = home()
    if adopt:
        open_ledger(state).refuse_copy(adopt=True)
    for finding in Reconciler(open_ledger(state), opener(state), Clock(), state, _Aloud())():
        findings.append(finding)
        if not json:
            say(_WORDS[finding.did].format(what=finding.what, detail=finding.detail))
    if json:
        rows = [asdict(finding) for finding in findings]
        print_json({"schema": "mlbroker.reconcile/1", "findings": rows})
    elif not findings:
        say("Machines and ledger agree; there was nothing to do.")
    if any(finding.did is Did.FAILED for finding in findings):
        raise MlbrokerError(
            "not everything could be dealt with; this is a bug, please report it",
            hint="All else was seen to, and caps hold.",
        )
    if any(finding.did is Did.UNREACHABLE for finding in findings):
        raise CloudError(
            "not everything could be reached", hint="Caps hold meanwhile; try again later."
        )
