"""`mlbroker doctor`: is everything there that a run needs, and what to do about what is not."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mlbroker.broker.clouds import clouds_with, role_of
from mlbroker.broker.clouds.checks import Check
from mlbroker.broker.errors import InputError, MlbrokerError
from mlbroker.broker.home import home
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.output import print_json, print_line, print_table, say

_MARKS = {True: "ok", False: "missing", None: "unknown"}


def command(
    cloud: Annotated[str | None, typer.Option(help="Check this cloud's account too.")] = None,
    region: Annotated[
        list[str] | None, typer.Option(help="In this region (repeatable); default: your own.")
    ] = None,
    policies: Annotated[
        bool, typer.Option("--policies", help="Print the least rights that do, and stop.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Check this machine and a cloud's account: by trying, without leaving or launching anything.

    Exit codes: 0 all there, 1 something is missing.
    """
    if cloud is not None and cloud not in clouds_with("doctor"):
        raise InputError(
            f"there is no check-up for {cloud!r}",
            where="--cloud",
            hint=f"There is one for: {', '.join(clouds_with('doctor'))}.",
        )
    doctor = role_of(cloud, "doctor") if cloud else None
    if policies:
        if doctor is None:
            raise InputError("goes with --cloud", where="--policies")
        print_line(doctor.policies(None, (region or ["REGION"])[0]))
        return
    found = list(_here(home()))
    if doctor is not None:
        found += doctor.checks(tuple(region or ()), datetime.now(UTC))
    _show(found, json)
    bad = [check for check in found if check.ok is False]
    if bad:
        raise MlbrokerError(f"{len(bad)} of {len(found)} checks failed", hint=bad[0].hint)


def _here(state: Path) -> Iterator[Check]:
    folder = next(f for f in (state, *state.parents) if f.exists())
    if os.access(folder, os.W_OK):
        yield Check("state folder", True, str(state))
    else:
        hint = "Make it writable, or set MLBROKER_HOME to one that is."
        yield Check("state folder", False, f"{state} cannot be written", hint)
    damage = open_ledger(state).verify()
    open_runs = [run for run in open_ledger(state).runs() if not run.settled] if not damage else []
    if damage is not None:
        yield Check("ledger", False, damage.what, "Restore a backup of the state folder.")
    else:
        yield Check("ledger", True, f"the chain holds; {len(open_runs)} runs are open")


def _show(found: list[Check], json: bool) -> None:
    if json:
        rows = [
            {"check": c.name, "ok": c.ok, "says": c.says, "hint": c.hint if not c.ok else None}
            for c in found
        ]
        print_json({"schema": "mlbroker.doctor/1", "checks": rows})
        return
    print_table(("", "check", "finding"), [(_MARKS[c.ok], c.name, c.says) for c in found])
    for hint in dict.fromkeys(c.hint for c in found if c.hint and not c.ok):
        say(hint)
