"""What `mlbroker advise` found, in sentences: the same under a plan and a measurement."""

from typing import TYPE_CHECKING

from mlbroker.broker.measure.tokens import tokens_words
from mlbroker.broker.try_words import file_lines, proven_words
from mlbroker.broker.words import duration, figure, money
from mlbroker.policies.advice.machines import Verdict, WithoutGpu
from mlbroker.policies.advice.steps import Kind, Waste
from mlbroker.policies.quote import Quote
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import Job
from mlbroker.profiles.tokens import StepLaw

if TYPE_CHECKING:
    from mlbroker.broker.app.advise import Advised


def without_gpu_words(found: WithoutGpu, job: Job, deadline_s: float | None) -> str:
    """Whether a machine without a GPU will do, and what the GPU costs more."""
    cpu, gpu = found.cpu, found.gpu
    if found.verdict is Verdict.UNKNOWN:
        return (
            "Without a GPU: unknown, the job was never measured to work without one. "
            "On a machine that has none, try: mlbroker profile JOB"
        )
    if cpu is None or cpu.duration_h is None or cpu.cost_usd is None:
        return "Without a GPU: no machine does it within the job's limits."
    took = duration(cpu.duration_h.p50 * 3600)
    limit = "" if deadline_s is None else f" of {duration(deadline_s)}"
    text = (
        f"Without a GPU: {_place(cpu)} does it in {took}{limit}"
        f" for {money(cpu.cost_usd.expected)} USD ({cpu.basis})"
    )
    more = found.gpu_costs_more_usd
    if gpu is None or gpu.duration_h is None or more is None:
        return f"{text}; no machine with a GPU does it within the job's limits."
    text += (
        f"; the best with one, {_place(gpu)}, takes {duration(gpu.duration_h.p50 * 3600)} and costs"
        f" {money(abs(more))} USD {'more' if more >= 0 else 'less'} ({gpu.basis})"
    )
    if job.runs_per_month is not None:
        text += f", {money(abs(more) * job.runs_per_month)} USD a month"
    if found.gpu_others_usd:
        text += f"; others wait for that place, and lose {money(found.gpu_others_usd)} USD by it"
    if found.drops:
        text += ". The job file asks for a GPU: was that meant?"
    return text if text.endswith("?") else f"{text}."


def _place(quote: Quote) -> str:
    """Which machine, where, and whether it may be taken away."""
    spot = " on spot" if quote.market is Market.SPOT else ""
    return f"{quote.instance_type} in {quote.region}{spot}"


def advice_lines(advised: "Advised") -> list[str]:
    """All of it for a person, a sentence or two a line."""
    made = advised.planned.plan
    job, seen = made.job, advised.tokens
    lines = [waste_words(item, job) for item in advised.wastes]
    tried = advised.tried
    if tried is not None and (best := tried.trial.best) is not None:
        lines.append(proven_words(best, job, advised.worth, tried.at))
        if not job.nlp:
            lines += file_lines(best)
    if seen is not None:
        lines += filter(None, (tokens_words(seen.row, seen.tokens), law_words(seen.law)))
    if advised.machines is not None:
        lines.append(without_gpu_words(advised.machines, job, made.constraints.deadline_s))
    elif not lines:
        return ["How long the job takes is unknown, so nothing can be said: mlbroker profile JOB"]
    return lines


def waste_words(item: Waste, job: Job) -> str:
    """What is wasted, what that costs, and what would help."""
    most = "up to " if item.at_most else ""
    share = f"{most}{item.share:.0%} of the time"
    match item.kind:
        case Kind.PADDING:
            text = f"Padding takes {share}{_usd_words(item, job, most)}"
            help_ = (
                "batches of like lengths, or of so many tokens, or packed ones, have less; "
                "what it saves is proven by `mlbroker profile JOB --try trim,group`"
            )
        case Kind.DATA_WAIT:
            text = f"The loop waits for its data {share}{_usd_words(item, job, most)}"
            help_ = "more workers of its data loader, or data nearer by, would shorten that"
        case Kind.CHECKPOINT:
            text = f"Its checkpoints take {share}{_usd_words(item, job, most)}"
            help_ = f"half as often ({_period_words(item)}) would save half of it"
        case Kind.PERIODIC:
            text = f"What comes back ({_period_words(item)}) takes {share}"
            text += _usd_words(item, job, most)
            help_ = "an evaluation or a checkpoint; half as often would save half of it"
        case Kind.ACCUMULATION:
            text = f"A step is made of {item.batches} batches: what each takes whatever its size is"
            text += f" comes to {share}{_usd_words(item, job, most)}"
            help_ = "fewer and larger ones take less of it, where the memory holds them"
    return f"{text}, as on {item.config}: {help_}."


def _period_words(item: Waste) -> str:
    return f"now {figure(item.extra_s or 0.0)} s every {item.every or 0:,} steps"


def _usd_words(item: Waste, job: Job, most: str) -> str:
    if item.usd is None:
        return ""
    text = f", {most}{money(item.usd)} USD a run"
    if job.runs_per_month is not None:
        text += f" and {money(item.usd * job.runs_per_month)} USD a month"
    return text


def law_words(law: StepLaw | None) -> str:
    """How the step time grows with the batch, from the sizes that were seen."""
    if law is None:
        return "How its step time grows with a batch's size is unknown: try other sizes."
    square = f" + {law.per_square_s * 1e9:.3g} ns·B·L²" if law.per_square_s else ""
    return (
        f"A step takes {law.fixed_s * 1e3:.3g} ms + {law.per_slot_s * 1e6:.3g} µs·B·L{square}, "
        f"from sizes of {figure(law.least_slots)} to {figure(law.most_slots)} places (rows B times "
        "width L); beyond them that is a hint."
    )
