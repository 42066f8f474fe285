"""Step times from measurements on other machines, and from how past jobs fared on this one.

Speaks once the job was measured somewhere, and there is more than one measurement to learn from:
with a single one and no past jobs, a data sheet says as much.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.estimators.datasheet import (
    FRACTION,
    GPU_PER_CPU_SPEED,
    cpu_speed,
    gpu_speed,
    job_uses_gpu,
    parallel_fraction,
    share_sigma,
)
from mlbroker.profiles.estimators.measured import (
    MAX_SIGMA,
    RUN_TO_RUN,
    earlier,
    least_doubt,
    step_time_s,
)
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Basis, Evidence, Prediction, Target

if TYPE_CHECKING:
    from mlbroker.profiles.transfer.belief import Belief
    from mlbroker.profiles.transfer.history import PastJob, Prior
    from mlbroker.profiles.transfer.kernel import Hyper
    from mlbroker.profiles.transfer.space import Space


class Configuration(NamedTuple):
    """What the model tells apart: machines of one hardware, so many of them."""

    name: str
    nodes: int
    hardware: Hardware


class Model(NamedTuple):
    """Places with the belief about the job on them; `known` are the job's own measurements."""

    places: list[Configuration]
    belief: "Belief"
    known: dict[int, list[Measurement]]
    past_jobs: int


def estimate(evidence: Evidence, targets: Sequence[Target]) -> list[Prediction | None]:
    """A prediction for every target, or for none."""
    ran = {_place(r) for r in _usable(evidence.measurements) if r.status is Status.OK}
    if not targets or not ran or (len(ran) < 2 and not evidence.history):
        return [None] * len(targets)
    question = ("step times", tuple(target.plain() for target in targets))
    found = evidence.recall(question, lambda: _worked_out(evidence, targets))
    return [
        Prediction(median, sigma, Basis.PREDICTED, words, overhead_s)
        for median, sigma, words, overhead_s in found
    ] or [None] * len(targets)


def _worked_out(
    evidence: Evidence, targets: Sequence[Target]
) -> list[tuple[float, float, str, float]]:
    """Median, sigma, words and overhead of every prediction; nothing where there is none."""
    wanted = [Configuration(t.instance_type, t.nodes, t.hardware) for t in targets]
    model = build(evidence, wanted)
    if len(model.known) < 2 and not model.past_jobs:
        return []
    numbers = {place: number for number, place in enumerate(model.places)}
    say = _Words(model)
    mean, variance = model.belief.mean.tolist(), model.belief.reported.tolist()
    rows = [row for rows in model.known.values() for row in rows]
    overhead_s = sum(row.overhead_s for row in rows) / len(rows)
    doubt = least_doubt(rows)
    version = earlier([row for row in rows if row.doubt_log == doubt])
    found = []
    for place in wanted:
        number = numbers[place]
        # What is measured on a machine is the mean of one: another of its type differs a little.
        spread = math.hypot(math.sqrt(variance[number]), share_sigma(place.hardware))
        sigma = min(math.hypot(spread, RUN_TO_RUN, doubt), MAX_SIGMA)
        median = math.exp(min(max(mean[number], -60.0), 60.0))
        words = say.evidence(number) + version
        found.append((median, sigma, words, overhead_s))
    return found


def guess_key(job: Job) -> Hashable:
    """Without a measurement it knows nothing of any job."""
    return None


def build(
    evidence: Evidence,
    wanted: Sequence[Configuration],
    steps: int = 1,
    begin: "Callable[[Prior, Hyper], Belief] | None" = None,
) -> Model:
    """The model of the time of `steps` steps, on the `wanted` places and then all measured ones.

    `begin` makes the belief before any measurement; None knows nothing of the job's scale.
    """
    import numpy as np

    from mlbroker.profiles.estimators.archetypes import Seen, believed
    from mlbroker.profiles.transfer.belief import Belief
    from mlbroker.profiles.transfer.history import complete, enough
    from mlbroker.profiles.transfer.kernel import Hyper

    # A machine measured itself may report a little less than its data sheet promises.
    named = {(place.name, place.nodes): place for place in wanted}
    own = _aligned(evidence.measurements, named)
    history = _aligned(evidence.history, named)
    candidates = list(dict.fromkeys([*wanted, *map(_place, own)]))
    places = list(dict.fromkeys([*candidates, *map(_place, history)]))
    numbers = {place: number for number, place in enumerate(places)}
    past = past_jobs(history, numbers)
    space = _encoded(evidence, places)
    hyper = Hyper.of(evidence.fitted)
    if not enough(past):
        hyper = hyper.widened()
    before = believed(
        space,
        [place.hardware for place in places],
        [place.nodes for place in places],
        np.arange(len(candidates)),
        past,
        complete(space, past, Hyper()),
        Seen(_seen_on_gpu(own), _seen_parallel(own)),
    )
    belief = Belief(before, hyper) if begin is None else begin(before, hyper)
    known: dict[int, list[Measurement]] = defaultdict(list)
    for row in own:
        if row.status is Status.OK:
            known[numbers[_place(row)]].append(row)
    least = least_doubt(row for rows in known.values() for row in rows)
    for number, rows in known.items():
        doubt = least_doubt(rows)
        logs = [
            math.log(steps * step_time_s(evidence.job, row))
            for row in rows
            if row.doubt_log == doubt
        ]
        # What all have in common comes on top of what follows from them.
        noise = math.hypot(RUN_TO_RUN / math.sqrt(len(logs)), math.sqrt(doubt**2 - least**2))
        belief.observe(number, sum(logs) / len(logs), noise)
    for row in own:
        if row.status is Status.FAILED and numbers[_place(row)] not in known:
            belief.fail(numbers[_place(row)])
    return Model(candidates, belief, dict(known), len(past))


def learn(history: Sequence[Measurement]) -> dict[str, float]:
    """What `Evidence.fitted` takes: hyperparameters fitted to all past jobs."""
    from mlbroker.profiles.transfer.fit import fit
    from mlbroker.profiles.transfer.history import complete
    from mlbroker.profiles.transfer.kernel import Hyper

    usable = _usable(history)
    places = list(dict.fromkeys(map(_place, usable)))
    space = _encoded(Evidence(Job("", ""), usable), places)
    past = past_jobs(usable, {place: number for number, place in enumerate(places)})
    return asdict(fit(space, past, complete(space, past, Hyper())))


def past_jobs(history: Sequence[Measurement], numbers: dict[Configuration, int]) -> "list[PastJob]":
    """Other jobs that ran on two places or more: of one, only its scale is known."""
    import numpy as np

    from mlbroker.profiles.transfer.history import PastJob

    by_job: dict[Hashable, list[Measurement]] = defaultdict(list)
    for row in history:
        by_job[row.job, row.batch_size, row.steps is None].append(row)
    found = []
    for rows in by_job.values():
        logs: dict[int, list[float]] = defaultdict(list)
        failed = set()
        for row in rows:
            number = numbers[_place(row)]
            if row.status is Status.OK:
                logs[number].append(math.log(row.time_s))
            elif row.status is Status.FAILED:
                failed.add(number)
        if len(logs) < 2:
            continue
        ran = sorted(logs)
        found.append(
            PastJob(
                rows[0].job,
                rows[0].group or rows[0].job,
                np.array(ran),
                np.array([sum(logs[n]) / len(logs[n]) for n in ran]),
                np.array(sorted(failed - set(ran)), dtype=int),
            )
        )
    return found


def _seen_on_gpu(rows: Iterable[Measurement]) -> bool | None:
    """Whether the job used a GPU where there was one; None where nobody saw."""
    seen = [row.gpu_used for row in rows if row.hardware and row.hardware.gpu]
    return None if None in seen or not seen else any(seen)


def _seen_parallel(rows: Iterable[Measurement]) -> float | None:
    """The share of the job's work that ran in parallel; None where it was not measured."""
    seen = [row.features[FRACTION] for row in rows if FRACTION in row.features]
    return sum(seen) / len(seen) if seen else None


def _usable(rows: Iterable[Measurement]) -> list[Measurement]:
    return [row for row in rows if row.hardware is not None]


def _aligned(
    rows: Iterable[Measurement], named: dict[tuple[str, int], Configuration]
) -> list[Measurement]:
    """Usable rows, with the hardware of the wanted place of the same name."""
    found = []
    for row in rows:
        place = named.get((row.instance_type or row.config, row.nodes))
        if place is not None and row.hardware != place.hardware:
            row = replace(row, hardware=place.hardware)
        if row.hardware is not None:
            found.append(row)
    return found


def _place(row: Measurement) -> Configuration:
    assert row.hardware is not None
    return Configuration(row.instance_type or row.config, row.nodes, row.hardware)


def _encoded(evidence: Evidence, places: Sequence[Configuration]) -> "Space":
    from mlbroker.profiles.transfer.space import encode

    rows = _usable(evidence.measurements)
    uses_gpu = job_uses_gpu(evidence.job, rows)
    parallel = parallel_fraction(rows)
    expected = []
    for place in places:
        speed = gpu_speed(place.hardware) if uses_gpu else 0.0
        speed = speed or cpu_speed(place.hardware, parallel) * GPU_PER_CPU_SPEED
        expected.append(-math.log(speed * place.nodes) if speed else math.nan)
    return encode(_columns(places), [place.name for place in places], expected)


def _columns(places: Sequence[Configuration]) -> dict[str, list[float]]:
    boxes = [(place.hardware, place.nodes) for place in places]
    return {
        "nodes": [n for _, n in boxes],
        "vcpus": [h.vcpus * n for h, n in boxes],
        "memory_gib": [h.memory_gib * n for h, n in boxes],
        "memory_gib_per_vcpu": [h.memory_gib / h.vcpus if h.vcpus else math.nan for h, _ in boxes],
        "vcpu_speed": [h.core_speed or math.nan for h, _ in boxes],
        "arm": [float(h.arch == "arm64") for h, _ in boxes],
        "burstable": [float(h.burstable) for h, _ in boxes],
        "gpus": [h.gpu_count * n if h.gpu else 0.0 for h, n in boxes],
        "gpu_memory_gib": [_of_one(h, "memory_gib") if h.gpu else 0.0 for h, _ in boxes],
        "gpu_tflops": [_of_one(h, "tensor_tflops", "fp32_tflops") for h, _ in boxes],
        "gpu_gb_per_s": [_of_one(h, "memory_bandwidth_gb_per_s") for h, _ in boxes],
        "network_gbps": [(n > 1 and h.network_gbps) or math.nan for h, n in boxes],
    }


def _of_one(hardware: Hardware, *names: str) -> float:
    """The first figure of its GPU that is known, of the share that the machine has of one."""
    figures = (getattr(hardware.gpu, name, None) for name in names)
    known = next((figure for figure in figures if figure), math.nan)
    return known * min(1.0, hardware.gpu_count or 1.0)


class _Words:
    """Says which measurement a prediction rests on most, and what else it knows."""

    def __init__(self, model: Model) -> None:
        import numpy as np

        from mlbroker.profiles.estimators.archetypes import favoured

        self._model = model
        self._measured = list(model.known)
        alike = np.array([model.belief.alike(number) for number in self._measured])
        own = alike[np.arange(len(alike)), self._measured]
        self._nearest = (alike / np.sqrt(own)[:, None]).argmax(0).tolist()
        others, past = len(self._measured) - 1, model.past_jobs
        self._also = f"; {others} other machine{'s' * (others > 1)}" if others else ""
        self._also += f"; {past} past job{'s' * (past > 1)}" if past else ""
        like = favoured(model.belief)
        self._also += f"; {like}" if like else ""

    def evidence(self, number: int) -> str:
        """ "measured on g5.xlarge, same GPU; 3 past jobs" """
        places, source = self._model.places, self._measured[self._nearest[number]]
        relation = _relation(places[source], places[number])
        return f"measured on {places[source].name}, {relation}{self._also}"


def _relation(source: Configuration, target: Configuration) -> str:
    a, b = source.hardware, target.hardware
    if (source.name, source.nodes) == (target.name, target.nodes):
        return "same type"
    if source.name == target.name:
        return "same type, other number of nodes"
    if a.gpu and b.gpu and a.gpu.model == b.gpu.model:
        if b.gpu_count < min(1, a.gpu_count):
            return "a share of the same GPU"
        return "same GPU" if a.gpu_count == b.gpu_count else "same GPU, other number"
    if bool(a.gpu) != bool(b.gpu):
        return "a machine with a GPU" if a.gpu else "a machine without a GPU"
    if a.cpu and a.cpu == b.cpu:
        return "same CPU" if a.vcpus == b.vcpus else "same CPU, other size"
    return "other hardware"
