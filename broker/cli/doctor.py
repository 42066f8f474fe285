"""`mlbroker doctor`: is everything there that a run needs, and what to do about what is not."""

from pathlib import Path
from typing import Annotated

import typer

from mlbroker.broker.app.account import checked, least_rights
from mlbroker.broker.cli.options import Json, Yes, no_effect
from mlbroker.broker.clouds.checks import Check
from mlbroker.broker.errors import InputError, MlbrokerError
from mlbroker.broker.home import home
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
    prove: Annotated[
        bool, typer.Option("--prove", help="Launch a machine and see the kill switch end it.")
    ] = False,
    gpu: Annotated[bool, typer.Option("--gpu", help="Prove it with a GPU.")] = False,
    spot: Annotated[bool, typer.Option("--spot", help="Prove it on spot.")] = False,
    budget: Annotated[str | None, typer.Option(help="Hard cap of the proof, in USD (1).")] = None,
    yes: Yes = False,
    report: Annotated[
        Path | None, typer.Option(help="Write the proof's report here: .md or JSON.")
    ] = None,
    json: Json = False,
) -> None:
    """Check this machine and a cloud's account: by trying, without leaving or launching anything.

    Only --prove launches: it costs cents, asks first, and leaves a run in the ledger.

    Exit codes: 0 all there, 1 something is missing, or a claim does not hold.
    """
    if prove:
        no_effect("with --prove", policies=policies)
        _prove(cloud, region, budget or "1", report, gpu=gpu, spot=spot, yes=yes, json=json)
        return
    no_effect("without --prove", gpu=gpu, spot=spot, budget=budget, yes=yes, report=report)
    if policies:
        if cloud is None:
            raise InputError("goes with --cloud", where="--policies")
        print_line(least_rights(cloud, (region or ["REGION"])[0]))
        return
    found = checked(home(), cloud, region or ())
    _show(found, json)
    bad = [check for check in found if check.ok is False]
    if bad:
        raise MlbrokerError(f"{len(bad)} of {len(found)} checks failed", hint=bad[0].hint)


def _prove(
    cloud: str | None, regions: list[str] | None, budget: str, report: Path | None, **how: bool
) -> None:
    from mlbroker.broker.cli.prove import prove_cloud

    if cloud is None:
        raise InputError("goes with --cloud", where="--prove")
    if len(regions or ()) > 1:
        raise InputError("takes one --region", where="--prove")
    region = regions[0] if regions else None
    prove_cloud(home(), cloud, region, budget, report, **how)


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
