"""Opens a run: the order on disk, then one reservation that the caps agree to.

A run may go on where an earlier one was ended: from its checkpoint, with what it did not spend.
"""

import getpass
import json
import os
import re
import secrets as randomness
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from shutil import copyfile, rmtree
from typing import Any

from mlbroker.broker.clouds.interface import Traits
from mlbroker.broker.errors import InputError, RefusedError
from mlbroker.broker.guest.unpacking import holds_files
from mlbroker.broker.home import private_folder
from mlbroker.broker.ledger import Admission, Ledger, Run
from mlbroker.broker.runs.elsewhere import HOME
from mlbroker.broker.runs.folder import RunFolder, unusable
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.broker.words import exact_usd
from mlbroker.pricing.billing import WorstCase
from mlbroker.profiles.job import Job

_NAME = re.compile(r"[^A-Za-z0-9._@+-]")


def new_run_id(now: datetime) -> str:
    """Sortable by time, unlike any other."""
    return f"{now:%Y%m%d-%H%M%S}-{randomness.token_hex(4)}"


def current_user() -> str:
    """Who spends: MLBROKER_USER, else the login name."""
    return _NAME.sub("_", os.environ.get("MLBROKER_USER") or _login())[:100]


def current_project(job_path: Path, option: str | None) -> str | None:
    """What it is spent on: --project, MLBROKER_PROJECT, else the git folder the job is in."""
    named = option or os.environ.get("MLBROKER_PROJECT")
    if named:
        return _NAME.sub("_", named)[:100]
    for folder in job_path.absolute().parents:
        if (folder / ".git").exists():
            return _NAME.sub("_", folder.name)[:100]
    return None


def secret_values(job: Job, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The values of the job's secrets, from the environment and nowhere else."""
    missing = [name for name in job.secrets if not environ.get(name)]
    if missing:
        raise InputError(
            f"the environment has no {', '.join(missing)}",
            hint=f"The job asks for it under secrets or envs: export {missing[0]} before the run"
            f" (or --env {missing[0]}=VALUE for one under envs).",
        )
    return {name: environ[name] for name in job.secrets}


def secrets_at_hand(order: Order, environ: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """The values of a run's secrets, where this process has all of them; else None."""
    values = {name: environ[name] for name in order.secrets if environ.get(name)}
    return values if len(values) == len(order.secrets) else None


def worst_case(
    candidate: LaunchOption, cap_usd: Decimal, traits: Traits, guest_late_s: int = 0
) -> WorstCase:
    """The lifetime that a cap pays for, and its worst case; refused when the cap is too small."""
    bill, slack_s = candidate.dearest, traits.kill_slack_s + guest_late_s
    worst = candidate.worst_case(cap_usd, slack_s, traits.lifetime_step_s)
    if worst is None:
        least_s = max(1, traits.lifetime_step_s)
        least = least_usd(candidate, traits, guest_late_s)
        span = "one second" if least_s == 1 else f"the least time of {least_s} s"
        raise RefusedError(
            f"{exact_usd(cap_usd)} USD does not pay for {candidate.instance_type} at "
            f"{exact_usd(bill.usd_per_hour)} USD/h: {span} with its kill slack costs "
            f"{exact_usd(least)} USD",
            hint="Raise --budget, or take a cheaper machine.",
        )
    return worst


def least_usd(candidate: LaunchOption, traits: Traits, guest_late_s: int = 0) -> Decimal:
    """What the shortest run there has to reserve."""
    return cap_usd_for(candidate, Decimal(max(1, traits.lifetime_step_s)), traits, guest_late_s)


def cap_usd_for(
    candidate: LaunchOption, lifetime_s: Decimal, traits: Traits, guest_late_s: int = 0
) -> Decimal:
    """The least cap that pays for so long a life, and for how late its end may be."""
    late_s = Decimal(str(traits.kill_slack_s + guest_late_s))
    machine_usd = candidate.dearest.charge_usd(lifetime_s + late_s)
    return machine_usd if candidate.home is None else candidate.home.cap_usd(machine_usd)


def reserve(
    ledger: Ledger,
    folder: RunFolder,
    order: Order,
    now: datetime,
    *,
    cap_usd: Decimal,
    worst_usd: Decimal,
    user: str,
    project: str | None,
    facts: Mapping[str, Any],
    admission: Admission | None = None,
    waits: Callable[[Sequence[Run]], bool] | None = None,
) -> Run:
    """Write the order down, then reserve its worst case; the ledger refuses beyond the caps.

    Where it `waits` for other runs, given all open ones, it queues and reserves nothing yet.
    """
    try:
        order.save(folder.path)
    except OSError as error:
        raise unusable(folder.path, error) from error
    body = {
        "job": order.job,
        "user": user,
        "project": project,
        "cap_usd": str(cap_usd),
        "reserved_usd": str(worst_usd),
        "candidate": json.loads(json.dumps(asdict(order.candidates[0]), default=str)),
        "order_sha256": order.digest(),
        "host": socket.gethostname(),
        **({HOME: str(folder.home)} if ledger.team else {}),
        **facts,
    }
    return ledger.reserve(now, order.run_id, body, admission, waits)


@contextmanager
def nothing_stays(folder: RunFolder) -> Iterator[None]:
    """Of a run that is refused in the block: it was not reserved, and nobody knows of it."""
    try:
        yield
    except (InputError, RefusedError):
        rmtree(folder.path, ignore_errors=True)
        raise


def bring_checkpoint(earlier: RunFolder, later: RunFolder) -> None:
    """Lay the earlier run's checkpoint where the later one restores from."""
    if not earlier.checkpoint.exists():
        raise InputError(
            "the earlier run left no checkpoint",
            where=str(earlier.path),
            hint="The job has to write one, to the folder that checkpoint: path: names.",
        )
    with open(earlier.checkpoint, "rb") as stream:
        if not holds_files(stream):
            raise InputError(
                "the earlier run's checkpoint holds no file that can be read",
                where=str(earlier.checkpoint),
                hint="Start a new run: there is nothing to resume from.",
            )
    private_folder(str(later.path))
    part = later.checkpoint.with_suffix(".part")
    copyfile(earlier.checkpoint, part)
    os.replace(part, later.checkpoint)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid{os.getuid()}" if sys.platform != "win32" else "unknown"
