"""What a batch is worth, what another would save, and why not more of it, in words."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from mlbroker.broker.words import duration, figure, money
from mlbroker.policies.planner.batch_advice import MoreGpus
from mlbroker.policies.planner.plan import WholeAt
from mlbroker.policies.quote import Quote
from mlbroker.profiles.batch import Batch, BatchAt
from mlbroker.profiles.batches_seen import BatchesSeen, has_step
from mlbroker.profiles.job import Job
from mlbroker.profiles.noise_seen import why_unknown
from mlbroker.profiles.prediction import Basis

# So many batches are worth measuring at first.
_SUGGESTED = 3
# What is saved is said from so much of the cost, or of the time where that is to be small.
_WORTH_A_WORD = Decimal("0.02")


def batch_words(at: BatchAt) -> str:
    """A batch, what a sample is worth there, and the learning rate."""
    passes = f" in {at.passes} passes" if at.passes > 1 else ""
    rate = "" if at.lr_scale is None else f", learning rate x {figure(at.lr_scale)}"
    return f"batch {at.size:,}{passes} (a sample is worth {at.efficiency:.0%}{rate})"


def saves(choice: Quote, best: Quote) -> tuple[Decimal, float] | None:
    """USD and hours that the best saves; None where either is not known."""
    if choice.cost_usd is None or best.cost_usd is None:
        return None
    if choice.duration_h is None or best.duration_h is None:
        return None
    usd = choice.cost_usd.expected - best.cost_usd.expected
    return usd, choice.duration_h.p50 - best.duration_h.p50


def another_batch_words(job: Job, choice: Quote | None, best: Quote) -> str | None:
    """What the best batch would save against the choice at the job's own; None: nothing."""
    assert job.batch is not None  # who asks has seen to it
    if best.batch is None or best.cost_usd is None or best.duration_h is None:
        return None
    if best.batch.size == job.batch.size:
        return None
    where = f"{best.instance_type} in {best.region} at {batch_words(best.batch)}"
    how = _how_to_have_it(job, job.batch)
    if choice is None:
        usd, hours = best.cost_usd.expected, best.duration_h.p50
        return f"{where} would do: {money(usd)} USD, {duration(hours * 3600)}. {how}"
    found = saves(choice, best)
    if found is None or choice.cost_usd is None or choice.duration_h is None:
        return None
    (usd, hours), own_usd = found, choice.cost_usd.expected
    time = duration(abs(hours) * 3600)
    if usd > own_usd * _WORTH_A_WORD:
        saved = f"save {money(usd)} USD of {money(own_usd)}"
        saved += f" and {time}" if hours >= 0 else f", and take {time} longer"
    elif hours > choice.duration_h.p50 * float(_WORTH_A_WORD):
        saved = f"save {time}" + (f", and cost {money(-usd)} USD more" if usd < 0 else "")
    else:
        return None
    return f"Another batch would {saved}: {where}. {how}"


def _how_to_have_it(job: Job, batch: Batch) -> str:
    missing = [] if batch.can_be_told else ["`env:` under `batch:`"]
    missing += [] if job.checkpoint is not None else ["a `checkpoint:`"]
    if missing:
        return f"To have it chosen: {', '.join(missing)}, and `adapt: batch`."
    return "To have it chosen: `adapt: batch`."


def unknown_words(job: Job, seen: BatchesSeen) -> str | None:
    """What to measure before another batch can be chosen; None where nothing is missing."""
    batch = job.batch
    if batch is None or batch.most == batch.size or seen.enough(batch):
        return None
    if not any(has_step(row) for row in seen.rows):
        return None  # never measured: that is said already
    ways = []
    if seen.noise is None:
        ways.append(_of_noise(seen))
    if len(seen.sizes(batch)) < 2 and batch.can_be_told:
        ways.append(f"mlbroker profile JOB --batch {','.join(map(str, _suggested(batch)))}")
    elif len(seen.sizes(batch)) < 2:
        ways.append("say under `batch: env:` by which variable the job is told")
    return f"What another batch is worth is not known: {'; '.join(ways)}."


def _of_noise(seen: BatchesSeen) -> str:
    whys = [why for row in seen.rows if (why := why_unknown(row.extra)) is not None]
    if whys:
        return f"its gradient noise is not ({whys[-1]})"
    if any("noise_looks" in row.extra for row in seen.rows):
        return "mlbroker profile JOB, for longer: its gradients were looked at too seldom"
    return "mlbroker profile JOB"


def _suggested(batch: Batch) -> Sequence[int]:
    doubled = [batch.size * 2**times for times in range(1, _SUGGESTED + 1)]
    return [size for size in doubled if size <= batch.most] or [batch.most]


def why_no_other_batch(batch: Batch, chosen: BatchAt, known: Sequence[WholeAt]) -> str | None:
    """Why the run's batch is no larger, by how long it all takes on that machine."""
    here = next((at for at in known if at.batch.size == chosen.size), None)
    larger = next((at for at in known if at.batch.size > chosen.size), None)
    if here is None:
        return None
    if larger is not None:
        return (
            f"Why not larger than {chosen.size:,}: at {larger.batch.size:,} a step takes"
            f" {larger.step_s / here.step_s:.3g}x as long, a sample is worth"
            f" {larger.batch.efficiency:.0%}, and all of it takes"
            f" {larger.whole_s / here.whole_s:.3g}x as long."
        )
    if chosen.size * 2 > batch.most:
        most = f"the job file allows no more, `max: {batch.most}`"
        return f"Why not larger than {chosen.size:,}: {most}."
    return (
        f"Why not larger than {chosen.size:,}: whether more fits in the machine's memory was not"
        " measured."
    )


def more_gpus_words(found: Iterable[MoreGpus]) -> str:
    """`8 GPUs: 3.1x faster, 2.6x dearer`."""
    told = [
        f"{more.gpus:g} GPUs ({more.instance_type}{_by(more.quote.basis)}): "
        + against_words(more.times_faster, more.times_dearer)
        for more in found
    ]
    return f"Why not more GPUs: {'; '.join(told)}."


def against_words(faster: float, dearer: float) -> str:
    """`3.1x faster, 2.6x dearer`, or slower and cheaper."""
    time = f"{faster:.2g}x faster" if faster >= 1 else f"{1 / faster:.2g}x slower"
    return f"{time}, {f'{dearer:.2g}x dearer' if dearer >= 1 else f'{1 / dearer:.2g}x cheaper'}"


def _by(basis: Basis) -> str:
    return ", by data sheet" if basis is Basis.DATASHEET else ""
