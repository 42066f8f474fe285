"""A cloud put to the proof: the cheapest machine of the account, under a cap of its own."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from secrets import token_hex
from typing import Any

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.proof_bill import REPORT
from mlbroker.broker.app.run import PreparedRun, RunRequest, prepare, reserve
from mlbroker.broker.clouds import clouds_with, opener, role_of
from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.errors import InputError, RefusedError
from mlbroker.broker.guest import box as files
from mlbroker.broker.ledger import Run, open_ledger
from mlbroker.broker.runs import launch
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.proof import COMMAND, JOB, SECRET, Proof, guest_late_s
from mlbroker.broker.runs.view import View
from mlbroker.broker.words import exact_usd
from mlbroker.policies.candidates import Filters
from mlbroker.pricing.book import Requirements
from mlbroker.pricing.offer import Market
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.job import Job, ResourceOption

DISK_GB = 50
# From the launch to the kill: the slowest set-up, and some minutes of work.
LIFE_S = Decimal(900)
# A proof lasts as long as its cap says: what a plan guesses of its job keeps no machine out.
_PLANNING_USD = Decimal(1000)
# The GPUs of the smallest machines that vendors sell.
_SMALL_GPUS = ("T4", "L4", "A10G", "A10")


def prepare_proof(
    state: Path,
    cloud: str,
    region: str | None,
    market: Market,
    budget_usd: Decimal,
    listener: Listener,
    *,
    gpu: bool,
) -> PreparedRun:
    """What would be launched: its cap pays for a short life, and is refused above the budget.

    Without a region it is the usual one where that is set up, else another that is.
    """
    known = clouds_with("proof")
    if cloud not in known:
        raise InputError(
            f"no proof of {cloud!r}", where="--cloud", hint=f"Known: {', '.join(known)}."
        )
    opened = opener(state)(cloud)
    where = region or _own_region(opened, vendor(cloud).usual_region)
    models = _SMALL_GPUS if gpu else (None,)
    job = Job(
        JOB,
        COMMAND,
        resources=tuple(
            ResourceOption(
                Requirements(gpu_model=model, arch="x86_64"), cloud, where, disk_gb=DISK_GB
            )
            for model in models
        ),
        secrets=(SECRET,),
        budget_usd=_PLANNING_USD,
    )
    traits = opened.traits
    late_s = guest_late_s(traits)
    wanted = Filters.of([cloud], [where] if where else None, [market], None)
    request = RunRequest(job, Path(JOB), filters=wanted, guest_late_s=late_s)
    prepared = prepare(request, state, listener)
    first = prepared.options[0]
    cap_usd = first.dearest.charge_usd(LIFE_S + Decimal(traits.kill_slack_s) + late_s)
    if cap_usd > budget_usd:
        raise RefusedError(
            f"a proof on {first.instance_type} needs a cap of {exact_usd(cap_usd)} USD, which is "
            f"above {exact_usd(budget_usd)} USD",
            hint="Raise --budget, or prove a cheaper machine.",
        )
    worst = launch.worst_case(first, cap_usd, traits, late_s)
    return replace(prepared, cap_usd=cap_usd, worst=worst)


def _own_region(cloud: Cloud, usual: str | None) -> str | None:
    """Where nothing is set up the usual one all the same: the plan says what to do about it."""
    regions = cloud.regions_set_up()
    return usual if usual in regions or not regions else min(regions)


def carried(
    prepared: PreparedRun, state: Path, listener: Listener, view: View, clock: Clock
) -> dict[str, Any]:
    """Reserve, launch and watch it to its end; the report, which its run's folder keeps."""
    secrets = {SECRET: token_hex(16)}
    with reserve(prepared, secrets, state, listener) as run:
        return _report(state, run, secrets, view, clock)


def earlier(state: Path, cloud: str) -> list[Run]:
    """The proofs of this cloud that the ledger has, newest first."""
    runs = reversed(open_ledger(state).runs())
    return [r for r in runs if r.job == JOB and r.details["candidate"]["cloud"] == cloud]


def report_of(state: Path, run: Run, view: View, clock: Clock) -> dict[str, Any]:
    """The report of an earlier proof; one whose process died is wound up first."""
    path = RunFolder.of(state, run.run_id).path / REPORT
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    with RunFolder.of(state, run.run_id).carried(wait=False) as ours:
        if not ours:
            raise InputError("another process carries it", where=f"run {run.run_id}")
        return _report(state, run, None, view, clock)


def _report(
    state: Path, run: Run, secrets: dict[str, str] | None, view: View, clock: Clock
) -> dict[str, Any]:
    ledger, opened = open_ledger(state), opener(state)
    folder = RunFolder.of(state, run.run_id)
    driver = Driver(ledger, opened, clock, folder, view, secrets)
    role = role_of(run.details["candidate"]["cloud"], "proof")
    report = Proof(ledger, folder, driver, clock, opened, role.remains, role.ended_by).carry(
        run.run_id
    )
    files.write_json(str(folder.path), REPORT, report)
    return report
