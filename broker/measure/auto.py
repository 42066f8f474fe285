"""Measures one machine after the other for as long as a measurement is worth its price."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlbroker.broker.runs.order import Candidate
from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.next_probe import Step, Terms, begin, next_step
from mlbroker.profiles.transfer.belief import Belief
from mlbroker.profiles.transfer.fit import fit
from mlbroker.profiles.transfer.history import PastJob, complete, prior
from mlbroker.profiles.transfer.kernel import Hyper
from mlbroker.profiles.transfer.space import encode


@dataclass(frozen=True, slots=True)
class Option:
    """A machine that can be launched, what it is, and what an hour of all nodes costs."""

    candidate: Candidate
    hardware: Hardware

    @property
    def price_per_hour_usd(self) -> float:
        """As a number to reckon with; what is charged stays exact elsewhere."""
        return float(self.candidate.price_per_hour_usd) * self.candidate.nodes


class Chooser:
    """What is believed of the job on each option, and which of them to measure next."""

    def __init__(
        self,
        job: Job,
        options: Sequence[Option],
        own: Sequence[Measurement],
        history: Sequence[Measurement],
        setup_s: float,
        deadline_s: float | None,
    ) -> None:
        self._job = job
        self._options = options
        prices = np.array([option.price_per_hour_usd for option in options])
        self._terms = Terms(prices, setup_s, deadline_s)
        self._belief = _belief(options, history, self._terms)
        for row in own:
            place = self._place(row)
            if place is not None:
                self.learn(place, row)

    def step(self, most: int) -> Step:
        """The measurement that is worth most, or the commitment to the best option."""
        return next_step(self._belief, self._terms, most)

    def learn(self, place: int, row: Measurement) -> None:
        """Take in what was measured on an option."""
        if row.status is Status.FAILED:
            self._belief.fail(place)
        else:
            self._belief.observe(place, math.log(whole_s(self._job, row)))

    def _place(self, row: Measurement) -> int | None:
        for place, option in enumerate(self._options):
            if (row.cloud, row.instance_type) == (
                option.candidate.cloud,
                option.candidate.instance_type,
            ):
                return place
        return None


def measure_while_worth(
    chooser: Chooser,
    options: Sequence[Option],
    most: int,
    measure: Callable[[Candidate], Measurement],
    say: Callable[[str], None],
) -> tuple[list[Measurement], Candidate | None]:
    """What was measured, in this order, and the option to commit to (None: none works)."""
    rows: list[Measurement] = []
    while True:
        step = chooser.step(most)
        if step.candidate is None:
            return rows, None
        candidate = options[step.candidate].candidate
        if not step.probe or len(rows) >= most:
            return rows, candidate
        say(
            f"{candidate.instance_type} ({candidate.cloud}, {candidate.region}): measuring costs "
            f"about {step.costs_usd:.2g} USD and is expected to save {step.saves_usd:.2g} USD"
        )
        row = measure(candidate)
        rows.append(row)
        chooser.learn(step.candidate, row)


def whole_s(job: Job, row: Measurement) -> float:
    """Seconds of the whole work by this measurement."""
    if row.steps is None:
        return row.time_s
    steps = job.work.steps if job.work else row.steps
    return row.overhead_s + row.time_s * steps


def _belief(options: Sequence[Option], history: Sequence[Measurement], terms: Terms) -> Belief:
    """Options and the configurations of past jobs share one space."""
    described = [_of_hardware(option) for option in options]
    kinds = [option.candidate.instance_type for option in options]
    places: dict[str, int] = {}
    jobs: dict[str, list[Measurement]] = defaultdict(list)
    for row in history:
        if row.config not in places:
            places[row.config] = len(described)
            described.append(_of_row(row))
            kinds.append(row.instance_type or "")
        jobs[row.job].append(row)
    names = sorted({name for known in described for name in known})
    space = encode({n: [d.get(n, math.nan) for d in described] for n in names}, kinds)
    past = [_past(name, rows, places) for name, rows in jobs.items()]
    completed = complete(space, past, Hyper())
    hyper = fit(space, past, completed) if past else Hyper().widened()
    return begin(prior(space, np.arange(len(options)), past, completed), hyper, terms)


def _past(name: str, rows: Sequence[Measurement], places: Mapping[str, int]) -> PastJob:
    pooled: dict[int, list[float]] = defaultdict(list)
    failed = set()
    for row in rows:
        if row.status is Status.FAILED:
            failed.add(places[row.config])
        else:
            pooled[places[row.config]].append(
                math.log(row.overhead_s + row.time_s * (row.steps or 1))
            )
    ran = sorted(pooled)
    return PastJob(
        name,
        next((row.group for row in rows if row.group), name),
        np.array(ran, dtype=int),
        np.array([sum(pooled[place]) / len(pooled[place]) for place in ran]),
        np.array(sorted(failed - set(ran)), dtype=int),
    )


def _of_hardware(option: Option) -> dict[str, float]:
    hardware, nodes = option.hardware, option.candidate.nodes
    known = {
        "vcpus": hardware.vcpus,
        "memory_gib": hardware.memory_gib,
        "gpus": float(hardware.gpu_count),
        "gpu_memory_gib": hardware.gpu_memory_gib,
        "nodes": float(nodes),
        "price_per_hour_usd": option.price_per_hour_usd,
    }
    if hardware.gpu and hardware.gpu.fp32_tflops:
        known["gpu_tflops"] = hardware.gpu.fp32_tflops * hardware.gpu_count
    return known


def _of_row(row: Measurement) -> dict[str, float]:
    known = dict(row.features)
    if row.hardware is not None:
        hardware = row.hardware
        known |= {
            "vcpus": hardware.vcpus,
            "memory_gib": hardware.memory_gib,
            "gpus": float(hardware.gpu_count),
            "gpu_memory_gib": hardware.gpu_memory_gib,
        }
    known["nodes"] = float(row.nodes)
    if row.price_per_hour_usd is not None:
        known["price_per_hour_usd"] = float(row.price_per_hour_usd)
    known.pop("parallel_fraction", None)  # of the job, not of the machine
    return known
