"""Finds the run a person means."""

from mlbroker.broker.errors import InputError
from mlbroker.broker.ledger import Ledger, Run

LAST = "last"


def find_run(ledger: Ledger, wanted: str) -> Run:
    """The run of this id, of this beginning of an id, or the `last` one."""
    runs = ledger.runs()
    if not runs:
        raise InputError("there are no runs yet")
    if wanted == LAST:
        return runs[-1]
    found = [run for run in runs if run.run_id.startswith(wanted)]
    exact = [run for run in found if run.run_id == wanted]
    if exact or len(found) == 1:
        return (exact or found)[0]
    if not found:
        raise InputError(f"there is no run {wanted!r}", hint="See them all: mlbroker ps --all")
    names = ", ".join(run.run_id for run in found[:5])
    raise InputError(f"{wanted!r} is the beginning of {len(found)} runs", hint=f"They are {names}")
