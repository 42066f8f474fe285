"""A run as the machine-readable contract shows it (`ledger --json`, `ps --json`, `run --json`)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from mlbroker.broker.clouds.guest_report import Status, figures_of
from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.ledger import PIPELINE, Attempt, Run, State, share_in
from mlbroker.broker.ledger.state import BASELINE, PREDICTION
from mlbroker.broker.runs.attempt import intent_of
from mlbroker.broker.runs.elsewhere import elsewhere
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import Order
from mlbroker.broker.words import charged_usd, exact_usd
from mlbroker.profiles.noise_seen import noise_of


def run_summary(run: Run) -> dict[str, Any]:
    """One run: what is reserved, what is spent, when and where. Money is a decimal string."""
    attempt = run.attempts[-1] if run.attempts else None
    started = next((a.started_at for a in run.attempts if a.started_at), None)
    first, share = run.details.get("candidate", {}), share_in(run, PIPELINE)
    return {
        "run_id": run.run_id,
        "job": run.job,
        "pipeline": share.name if share else None,
        "pipeline_id": share.whole_id if share else None,
        "user": run.user,
        "project": run.project,
        "state": run.state.value,
        "reserved_usd": exact_usd(run.reserved_usd),
        "spent_usd": exact_usd(run.spent_usd),
        "spent_at_most": run.spent_at_most,
        "started_at": _iso(started),
        "ended_at": _iso(attempt.ended_at if attempt else None),
        "cloud": attempt.cloud if attempt else first.get("cloud"),
        "region": attempt.region if attempt else first.get("region"),
        "instance_type": attempt.instance_type if attempt else first.get("instance_type"),
        "market": attempt.market if attempt else first.get("market"),
        "outcome": run.outcome,
        "exit_code": run.exit_code,
        "budget_usd": exact_usd(run.cap_usd),
        "attempts": len(run.attempts),
        "batch_size": attempt.batch_size if attempt else first.get("batch_size"),
        "reserved_at": _iso(run.reserved_at),
        **_expectations(run),
        "energy_kwh": _drawn(run, "kwh"),
        "carbon_kgco2e": _drawn(run, "kgco2e"),
        "kill_at": _iso(
            attempt.kill_at if attempt and not run.settled and attempt.pending is None else None
        ),
    }


def _expectations(run: Run) -> dict[str, Any]:
    """What it was expected to cost here, and on the machine that people usually take."""
    told, usual = run.details.get(PREDICTION), run.details.get(BASELINE)
    cost = told["cost_usd"] if told else {}
    return {
        "predicted_usd": cost.get("p50") or cost.get("expected"),
        "predicted_p90_usd": cost.get("p90"),
        "baseline_usd": usual["cost_usd"] if usual else None,
    }


def _drawn(run: Run, what: str) -> float | None:
    """By all machines it had; None where nobody knows of one of them."""
    told = [attempt.energy for attempt in run.attempts if attempt.ended_at]
    known = [energy[what] for energy in told if energy is not None and energy[what] is not None]
    return sum(known) if known and len(known) == len(told) else None


def attempt_summary(run: Run, attempt: Attempt) -> dict[str, Any]:
    """One attempt of a run: where, from when until when, how it ended and what it cost.

    `noise_samples` is the gradient noise scale that was seen last; None where nobody knows it.
    """
    figures = figures_of(attempt.figures)
    noise = None if figures is None else noise_of(figures.training, attempt.batch_size)
    return {
        "run_id": run.run_id,
        "attempt": attempt.number,
        "cloud": attempt.cloud,
        "zone": attempt.zone or attempt.region,
        "instance_type": attempt.instance_type,
        "market": attempt.market,
        "intended_at": _iso(attempt.intended_at),
        "ended_at": _iso(attempt.ended_at),
        "why": attempt.why,
        "detail": attempt.detail,
        "batch_size": attempt.batch_size,
        "lr_scale": attempt.lr_scale,
        "noise_samples": None if noise is None else noise.noise,
        "charged_usd": exact_usd(attempt.charged_usd),
    }


def job_words(row: Mapping[str, Any]) -> str:
    """The job of a run's row; of a stage with its pipeline."""
    whole = row["pipeline"]
    return str(row["job"]) if whole is None else f"{row['job']} of {whole}"


def spent_words(run: Run) -> str:
    """What it cost, or at most."""
    return charged_usd(run.spent_usd, at_most=run.spent_at_most)


def live_summary(
    run: Run, opened: Callable[[str], Cloud], state: Path, now: datetime
) -> dict[str, Any]:
    """The same, with what its machine says: phase, steps and the money spent up to `now`.

    `checkpoint_fault`: why the latest save of its checkpoint came to nothing.
    `idle_s`: seconds since it last did anything. `unattended`: no process carries the run; its cap
    holds all the same. `late_h`: of a run whose spot policy waits for a machine, by how many hours
    it misses its deadline if it got one now.
    """
    row = run_summary(run) | {
        "phase": None, "step": None, "steps": None, "checkpoint_fault": None, "unattended": False,
        "late_h": None, "idle_s": None,
    }  # fmt: skip
    queued = run.state is State.QUEUED
    if run.settled or not (run.attempts or queued):
        return row
    folder = RunFolder.of(state, run.run_id)
    if other := elsewhere(run, folder):
        return row | {"phase": other}
    with folder.carried(wait=False) as free:
        row["unattended"] = free
    if queued:
        return row
    attempt = run.attempt
    try:
        order = Order.load(folder.path, run.details["order_sha256"])
        if attempt.machine_id is None or attempt.ended_at is not None:
            return row | _waiting(run, order, now)
        if attempt.pending is not None:
            return row | {"phase": f"pending: {attempt.pending}".removesuffix(": ")}
        cloud = opened(attempt.cloud)
        report = cloud.report(intent_of(run, attempt, order))
    except MlbrokerError as error:
        return row | {"phase": f"unknown: {error.what}"}
    status = report.status or Status()
    seconds = Decimal(str(max(0.0, (min(now, attempt.kill_at) - attempt.began_at).total_seconds())))
    spent = run.spent_usd + order.candidate(attempt).dearest.charge_usd(seconds)
    return row | {
        "phase": "ended" if report.end else status.phase or None,
        "step": status.step,
        "steps": order.steps or status.steps,
        "checkpoint_fault": status.checkpoint_fault,
        "idle_s": status.idle_s,
        "spent_usd": exact_usd(spent),
    }


def _waiting(run: Run, order: Order, now: datetime) -> dict[str, Any]:
    if order.spot is None:
        return {}
    from mlbroker.broker.runs.steering import Steering  # numpy: most runs have none

    return {"phase": "waiting", "late_h": Steering(order, order.spot).late_h(run, now)}


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="milliseconds") if at else None
