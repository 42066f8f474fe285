"""What was seen of a job, as a measurement to keep, or as the reason why there is none."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from mlbroker.broker.errors import InputError
from mlbroker.broker.evidence.hardware import hardware
from mlbroker.broker.measure.extras import DISAGREEMENT, extras
from mlbroker.broker.measure.watch import Observation
from mlbroker.profiles.estimators.measured import RUN
from mlbroker.profiles.job import Job, Work
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.stepping.stated import disagreement
from mlbroker.profiles.stepping.steady import Estimate

WAYS = (
    "a torch, Keras, LightGBM or XGBoost training loop or a tqdm bar is seen by itself; else "
    "`from mlbroker_probe import steps` around the loop, a printed line `::mlbroker step=12/300`, "
    "a regex `progress:` in the job file's broker block, or a file named by "
    "$MLBROKER_PROGRESS_FILE that holds `12/300`"
)
# Who says how many steps a job has, where its user does.
ASKED = "as `work:` in the job file or --steps says"
TO_ITS_END = "counted to its end"
# Shorter than this, a job without steps has told nothing about its work.
WHOLE_S = 1.0
# A job that ended by itself after this share of its steps has made them all.
COMPLETE = 0.9
# Of a machine that was lost nobody knows how long it worked.
LOST_S = 0.001
_OUT_OF_MEMORY = re.compile(
    r"CUDA out of memory|OutOfMemoryError|MemoryError|Cannot allocate memory|std::bad_alloc"
)
_NO_TERMINAL = re.compile(r"not a tty|Inappropriate ioctl|EOFError|no terminal", re.IGNORECASE)
_SIGKILL = 9


class MeasuredOn(NamedTuple):
    """Where it was measured, and what an hour of that costs (None: the price is elsewhere).

    All but `cores` are fields of a Measurement.
    """

    config: str
    cloud: str
    region: str | None = None
    instance_type: str | None = None
    price_per_hour_usd: Decimal | None = None
    cores: int | None = None


def to_measurement(
    job: Job, seen: Observation, place: MeasuredOn, now: datetime, facts: Mapping[str, str]
) -> Measurement:
    """The measurement; InputError when nothing could be counted."""
    return _measurement(job, seen, place, now, facts, _result(job, seen))


def died(
    job: Job, place: MeasuredOn, now: datetime, facts: Mapping[str, str], why: str
) -> Measurement:
    """The machine was lost before it could answer, twice: that is what is known of it."""
    lost = {"time_s": LOST_S, "status": Status.FAILED, "reason": why}
    return _measurement(job, Observation(), place, now, facts, lost)


def failure_reason(seen: Observation) -> str | None:
    """Why the job failed by itself, None when it did not."""
    if seen.stopped or seen.end.get("end") != "ended" or seen.end.get("exit") in (0, None):
        return None
    code = int(seen.end["exit"])
    words = _last_words(seen)
    step = "set-up" if seen.phase == "setup" else "the job"
    if _OUT_OF_MEMORY.search(str(seen.end.get("output", ""))) or code in (
        -_SIGKILL,
        128 + _SIGKILL,
    ):
        how = (
            "was killed, as happens when it runs out of memory"
            if code != 1
            else "ran out of memory"
        )
        return f"{step} {how}" + (f": {words}" if words else "")
    if _NO_TERMINAL.search(str(seen.end.get("output", ""))):
        words += "; it asks for a terminal, and a measured job has none"
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"{step} {how} after {seen.end['time_s']:.1f} s" + (f": {words}" if words else "")


def _result(job: Job, seen: Observation) -> dict[str, Any]:
    failure, found = failure_reason(seen), seen.estimate
    if failure:
        time_s = max(0.001, float(seen.end["time_s"]))
        return {"time_s": time_s, "status": Status.FAILED, "reason": failure}
    if found is None:
        if seen.completed:
            return _whole(seen)
        raise InputError(_nothing_spoke(seen), where=job.name, hint=f"What is understood: {WAYS}")
    if found.total_steps is None and not seen.completed:
        raise InputError(
            f"a step takes {found.step_time_s:.4g} s, but how many steps the whole job "
            f"has is not known{_epoch(seen)}",
            where=job.name,
            hint="say it in the job file's broker block, `work: {steps: N}`, or with --steps N",
        )
    if seen.completed and job.work and _disagreement(job.work.steps, seen):
        return _whole(seen)  # it takes so long, whatever is stated and whatever was counted
    return _counted(seen, found)


def _epoch(seen: Observation) -> str:
    epoch = seen.notes.get("epoch")
    return f": the total seen may be an epoch's ({epoch})" if epoch else ""


def _counted(seen: Observation, found: Estimate) -> dict[str, Any]:
    steps, overhead_s = found.total_steps, found.overhead_s
    if seen.completed and seen.series is not None:
        done = seen.series.counts[-1]
        # The last steps may be unspoken when only every tenth is told.
        steps = steps if steps is not None and done >= COMPLETE * steps else done
        overhead_s = max(0.0, float(seen.end["time_s"]) - steps * found.step_time_s)
    return {
        "time_s": found.step_time_s,
        "steps": steps,
        "sigma_log": found.sigma_log,
        "overhead_s": overhead_s,
    }


def _whole(seen: Observation) -> dict[str, Any]:
    time_s = float(seen.end["time_s"])
    if seen.end.get("left_behind"):
        raise InputError(
            "the command returned at once and left its work running in the background",
            hint="let the command stay until the work is done: no `&`, `nohup` or daemon mode",
        )
    if time_s < WHOLE_S:
        steps = "with too few steps" if seen.sources else "without a step"
        raise InputError(
            f"the job ended after {time_s:.2f} s {steps}: there is nothing to measure",
            hint=_last_words(seen) or WAYS,
        )
    return {"time_s": time_s}


def _nothing_spoke(seen: Observation) -> str:
    counted = (
        f"too few steps ({', '.join(seen.sources)}) were counted"
        if seen.sources
        else "nobody counted a step"
    )
    words = _last_words(seen)
    printed = f"{seen.end.get('output_bytes', 0):,} bytes of output"
    text = f"{counted} in {seen.end['time_s']:.0f} s ({printed})"
    return "; ".join(part for part in (text, seen.notes.get("not_hooked"), words) if part)


def _last_words(seen: Observation) -> str:
    lines = [line.strip() for line in str(seen.end.get("output", "")).splitlines() if line.strip()]
    return f"its last output: {lines[-1][:200]}" if lines else ""


def _measurement(
    job: Job,
    seen: Observation,
    place: MeasuredOn,
    now: datetime,
    facts: Mapping[str, str],
    result: Mapping[str, Any],
) -> Measurement:
    last = seen.samples[-1][1] if seen.samples else {}
    where = place._asdict()
    cores = where.pop("cores")
    known = bool(seen.machine)  # a machine that was lost may never have said what it is
    return Measurement(
        job=job.name,
        hardware=hardware(seen.machine, cores) if known else None,
        peak_memory_gib=last.get("peak_memory_gib") or None,
        peak_gpu_memory_gib=last.get("peak_gpu_memory_gib"),
        gpu_used=None if "gpu_utilisation" not in last else last["gpu_utilisation"] > 0.01,
        batch_size=None if job.batch is None else job.batch.size,
        fingerprint=job.fingerprint(),
        measured_at=now,
        extra=extras(seen, cores) | _total_by(job, seen, result) if known else {},
        facts=facts,
        **where,
        **result,
    )


def _total_by(job: Job, seen: Observation, result: Mapping[str, Any]) -> dict[str, str]:
    """Who says how many steps the whole job has."""
    doubt = _disagreement(job.work.steps, seen) if job.work else {}
    if result.get("steps") is None:
        return doubt
    if job.work:
        return {"steps_by": job.work.told_by or ASKED} | doubt
    if seen.completed:
        return {"steps_by": TO_ITS_END}
    return {"steps_by": f"as {seen.series.source if seen.series else 'the job'} tells"}


def _disagreement(stated: int, seen: Observation) -> dict[str, str]:
    """Why what is stated cannot be in steps such as were counted."""
    series = seen.series
    if series is None:
        return {}
    # The job may write whatever it likes where its hooks do.
    epoch = re.match(r"\d{1,15}(?= )", seen.notes.get("epoch", ""))
    told = None if seen.completed else series.told
    if epoch and int(epoch[0]) > stated:  # fewer are no contradiction: there are several
        told = int(epoch[0])
    done, who = series.counts[-1], series.source
    doubt = disagreement(stated, done, told, who, ended=seen.completed)
    return {} if doubt is None else {DISAGREEMENT: doubt}


def learnt_work(job: Job, known: Iterable[Measurement]) -> Work | None:
    """How many steps the job has by its last run, or measurement, that came to its end; None where
    its user says it, or nothing of the job as it is now did.
    """
    if job.work is not None:
        return job.work
    whole = (row for row in known if row.steps and row.version is None and _made_all(row))
    last = max(whole, key=lambda row: str(row.measured_at), default=None)
    if last is None or last.steps is None:
        return None
    return Work(last.steps, told_by=steps_by(last))


def steps_by(row: Measurement) -> str:
    """Who says how many steps the job has, of a measurement that is kept."""
    made = f"as run {row.extra[RUN]} made" if RUN in row.extra else "as measured or imported"
    return row.extra.get("steps_by", made)


def _made_all(row: Measurement) -> bool:
    ended = row.extra.get("ended") == "finished" or row.extra.get("steps_by") == TO_ITS_END
    return ended and row.status is Status.OK
