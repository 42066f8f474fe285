"""What a run teaches of its job: each attempt, as a measurement in the store that plans read.

A measurement follows from ledger and order alone: whoever settles the run writes the same one, and
the store keeps it once.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbroker.broker.clouds.guest_report import Figures, figures_of
from mlbroker.broker.evidence.hardware import hardware, local_config
from mlbroker.broker.evidence.store import MeasurementStore, relearn
from mlbroker.broker.ledger import STUDY, Attempt, Run, share_in
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import Order
from mlbroker.pricing.offer import Market
from mlbroker.pricing.vendors import LOCAL, vendor
from mlbroker.profiles.batch import steps_of
from mlbroker.profiles.estimators.measured import RUN
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.stepping.stated import disagreement

if TYPE_CHECKING:
    from mlbroker.policies.tuning.budget import Whole

# A job that ended by itself after this share of its steps has made them all.
COMPLETE = 0.9
# Above this share of the time, a GPU was used.
GPU_USED = 0.01
# An exit code of a process that was killed, as happens when it runs out of memory.
KILLED = 128 + 9


def remember(run: Run, order: Order, home: Path, warn: Callable[[str], None]) -> None:
    """Keep what the run taught. It is settled whatever becomes of that."""
    try:
        rows = list(measurements(run, order))
        if rows and MeasurementStore(home).add(rows):
            relearn(home)
    except Exception as error:
        warn(f"what the run taught of its job was not kept: {type(error).__name__}: {error}")


def measurements(run: Run, order: Order) -> Iterator[Measurement]:
    """One for each attempt whose guest told of the job's command."""
    if order.identity is None or share_in(run, STUDY) is not None:
        # What a lane takes is not what its job takes.
        return
    for attempt in run.attempts:
        figures = figures_of(attempt.figures)
        # What several places of a node take together is not what one takes.
        if figures is not None and order.candidate(attempt).places == 1:
            yield _measurement(run, order, attempt, figures)


def remember_trials(
    run: Run, folder: RunFolder, whole: "Whole", warn: Callable[[str], None]
) -> None:
    """Keep what a lane on one machine taught of the job whose trials it worked on. The study goes
    on whatever becomes of that.
    """
    figures = figures_of(run.attempt.figures) if len(run.attempts) == 1 else None
    if figures is None:
        return
    try:
        _keep_trials(run, figures, folder, whole)
    except Exception as error:
        warn(f"what trials took was not kept: {type(error).__name__}: {error}")


def _keep_trials(run: Run, figures: Figures, folder: RunFolder, whole: "Whole") -> None:
    order = Order.load(folder.path, run.details["order_sha256"])
    taught = replace(
        _measurement(run, order, run.attempt, figures),
        job=run.job.rpartition(".tune")[0],
        time_s=whole.seconds,
        sigma_log=whole.sigma_log,
        steps=None,
        overhead_s=0.0,
        status=Status.OK,
        reason=None,
    )
    if MeasurementStore(folder.home).add([taught]):
        relearn(folder.home)


def _measurement(run: Run, order: Order, attempt: Attempt, figures: Figures) -> Measurement:
    told = figures.machine and asdict(figures.machine)
    here = attempt.cloud == LOCAL == attempt.instance_type
    name = local_config(figures.machine.vcpus) if here and figures.machine else None
    own = vendor(attempt.cloud).own
    return Measurement(
        job=run.job,
        config=name or attempt.instance_type,
        cloud=attempt.cloud,
        region=None if own else attempt.region,
        instance_type=None if here else attempt.instance_type,
        price_per_hour_usd=attempt.price_per_hour_usd * attempt.nodes,
        nodes=attempt.nodes,
        # Steps at another batch are none of the job's own.
        batch_size=attempt.batch_size,
        market=None if own else Market(attempt.market),
        # Of rented machines the price book knows more than they tell.
        hardware=hardware(told) if own and told else None,
        peak_memory_gib=figures.peak_memory_gib,
        peak_gpu_memory_gib=figures.peak_gpu_memory_gib,
        gpu_used=None if figures.gpu is None else figures.gpu > GPU_USED,
        fingerprint=run.details.get("fingerprint"),
        measured_at=attempt.intended_at + timedelta(seconds=figures.command_s),
        extra=_extra(run, attempt, figures),
        facts=order.identity or {},
        **_result(_in_steps_of(attempt, order, figures), attempt, figures),
    )


def _in_steps_of(attempt: Attempt, order: Order, figures: Figures) -> Order:
    """The order, with its steps counted in those of the attempt's batch."""
    batch = order.batch
    if batch is None or attempt.batch_size in (None, batch.size):
        return order
    assert attempt.batch_size is not None
    return replace(
        order, steps=steps_of(batch.size, order.steps, attempt.batch_size, figures.steps)
    )


def _extra(run: Run, attempt: Attempt, figures: Figures) -> dict[str, str]:
    known = {
        RUN: run.run_id,
        "ended": attempt.why,
        "setup_s": figures.setup_s,
        "command_s": figures.command_s,
        "steps_seen": figures.points[-1][0] if figures.points else None,
        "cpu_cores": figures.cpu,
        "gpu_utilisation": figures.gpu,
    }
    return {name: _text(value) for name, value in known.items() if value is not None}


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _result(order: Order, attempt: Attempt, figures: Figures) -> dict[str, Any]:
    """The time of a step where steps tell it, else that of the whole, or what it is longer than."""
    if attempt.exit_code == KILLED:
        reason = "was killed, as happens when it runs out of memory"
        return {"time_s": figures.command_s, "status": Status.FAILED, "reason": reason}
    finished = attempt.why == "finished"
    stepped = _stepped(order, figures, finished)
    if stepped is not None:
        return stepped
    if finished and not figures.resumed:
        return {"time_s": figures.command_s}
    code = attempt.exit_code
    reason = attempt.why or "lost" if code is None else f"{attempt.why}, with exit code {code}"
    return {"time_s": figures.command_s, "status": Status.STOPPED, "reason": reason}


def _stepped(order: Order, figures: Figures, finished: bool) -> dict[str, Any] | None:
    """As the profiler reckons it from the same steps; None where they are too few, or nobody knows
    how many there are in all."""
    from mlbroker.profiles.stepping.steady import estimate
    from mlbroker.profiles.stepping.stream import StepSeries

    points = [p for n, p in enumerate(figures.points) if n == 0 or p[1] > figures.points[n - 1][1]]
    if len(points) < 2:
        return None
    done, total = points[-1][0], order.steps or figures.steps
    if finished and (total is None or done < COMPLETE * total):
        total = done
    if total is None or _in_another_unit(order, figures, finished):
        return None
    series = StepSeries("run", [at_s for _, at_s in points], [n for n, _ in points], total)
    found = estimate(series)
    if found is None:
        return None
    made = total if finished and not figures.resumed else done - points[0][0]
    left_s = figures.command_s - made * found.step_time_s
    return {
        "time_s": found.step_time_s,
        "steps": total,
        "sigma_log": found.sigma_log,
        "overhead_s": max(0.0, left_s) if finished else found.overhead_s,
    }


def _in_another_unit(order: Order, figures: Figures, finished: bool) -> bool:
    """Whether the steps that the job file states cannot be those that were counted."""
    if order.steps is None:
        return False
    done, told = figures.points[-1][0], None if finished else figures.steps
    ended = finished and not figures.resumed
    return disagreement(order.steps, done, told, None, ended=ended) is not None
