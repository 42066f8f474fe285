"""What `mlbroker advise` found, in sentences: the same under a plan and a measurement."""

from typing import TYPE_CHECKING

from mlbroker.broker.words import duration, money
from mlbroker.policies.advice.machines import Verdict, WithoutGpu
from mlbroker.policies.quote import Quote
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import Job

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
    if advised.machines is None:
        return ["How long the job takes is unknown, so nothing can be said: mlbroker profile JOB"]
    return [without_gpu_words(advised.machines, made.job, made.constraints.deadline_s)]
