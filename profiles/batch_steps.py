"""How long a job's step takes at other batches, on machines where it was measured and on others.

| symbol | means | unit |
| --- | --- | --- |
| T | time of a step: a·s + β·B | s |
| s | passes of a step | |
| B | batch, over all nodes and passes of a step | samples |

The line is `profiles.step_model`'s for one layout: what does not grow with the batch (the processor
between kernels, the optimizer, the exchange) and what does (the chip). Where several batches were
measured, they are used. Elsewhere the line of the machine most like in speed is carried over, with
a wide doubt about the share that does not grow: how two processors differ and how two chips do are
two things, so a step at a small batch may be bound by the one, and at a large batch by the other.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.batch import Batch
from mlbroker.profiles.batches_seen import BatchesSeen, has_step, size_of
from mlbroker.profiles.estimators import measured
from mlbroker.profiles.estimators.datasheet import job_uses_gpu
from mlbroker.profiles.estimators.measured import MAX_SIGMA, RUN_TO_RUN, pool
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Basis, Evidence, Prediction, Target

# How far the odds of that share may differ on two machines of one speed (standard deviation of
# their logarithm), and how much that grows with how far apart their speeds are: guesses, wide on
# purpose. At 1, all of a difference in speed may be the chip's, or none.
_SHARE_SIGMA, _SHARE_SIGMA_PER_LOG_RATIO = 0.5, 0.5
# What a line may be off for each doubling beyond what was measured.
_BEYOND_SIGMA = 0.15
# No machine is bound by the processor, or by the chip, alone.
_LEAST_SHARE = 0.02
# A GPU holds, beside what a job without one holds in memory, its own runtime: a guess.
_RUNTIME_GIB = 1.0
# What a straight line through two peaks of memory may be short by: a guess.
_MEMORY_MARGIN = 1.2


class Line(NamedTuple):
    """T = `fixed_s` a pass + `sample_s` a sample, seen at batches from `least` to `most`."""

    fixed_s: float
    sample_s: float
    least: int
    most: int

    @classmethod
    def through(cls, batch: Batch, nodes: int, seen: Mapping[int, Prediction]) -> "Line":
        """Least squares of relative errors; no part of a step takes less than no time."""
        rows = [
            (batch.passes(size, nodes) / found.median_step_time_s, size / found.median_step_time_s)
            for size, found in seen.items()
        ]
        pp = sum(p * p for p, _ in rows)
        pb = sum(p * b for p, b in rows)
        bb = sum(b * b for _, b in rows)
        p1, b1 = sum(p for p, _ in rows), sum(b for _, b in rows)
        determinant = pp * bb - pb * pb
        # Where passes grow as the batch does, the two cannot be told apart: all is the samples'.
        fixed, sample = 0.0, b1 / bb
        if determinant > 1e-9 * pp * bb:
            fixed = (p1 * bb - b1 * pb) / determinant
            sample = (b1 * pp - p1 * pb) / determinant
            if fixed < 0:
                fixed, sample = 0.0, b1 / bb
            elif sample < 0:
                fixed, sample = p1 / pp, 0.0
        return cls(fixed, sample, min(seen), max(seen))

    def step_s(self, size: int, passes: int) -> float:
        """T at a batch."""
        return self.fixed_s * passes + self.sample_s * size

    def beyond_sigma(self, size: int) -> float:
        """How much a batch outside of what was measured adds to the width."""
        apart = max(math.log2(size / self.most), math.log2(self.least / size), 0.0)
        return _BEYOND_SIGMA * apart


class BatchSteps:
    """Predictions at other batches, from what was seen and those at the job's own."""

    def __init__(self, job: Job, seen: BatchesSeen) -> None:
        assert job.batch is not None  # who asks has seen to it
        self._job, self._batch, self._nodes = job, job.batch, job.num_nodes
        self.seen = seen
        # Asked of thousands of machines.
        self._passes = cache(lambda size: self._batch.passes(size, self._nodes))
        usable = [row for row in seen.rows if row.nodes == job.num_nodes]
        self._rows: dict[int, list[Measurement]] = defaultdict(list)
        machines: dict[str, dict[int, list[Measurement]]] = defaultdict(lambda: defaultdict(list))
        for row in usable:
            if has_step(row):
                size = size_of(self._batch, row)
                self._rows[size].append(row)
                machines[_name(row)][size].append(row)
        self._lines = {
            name: Line.through(self._batch, self._nodes, pooled)
            for name, by_size in machines.items()
            if len(pooled := _pooled(job, by_size)) > 1
        }
        self._memory = _Memory(job, self._batch, usable)

    def at(
        self,
        sizes: Sequence[int],
        targets: Sequence[Target],
        own: Sequence[Prediction | None],
    ) -> list[dict[int, Prediction]]:
        """For each target the step at each batch that it has memory for, if anything is known.

        `own` are the predictions at the job's own batch.
        """
        measured_at = {
            size: measured.estimate(Evidence(self._job, rows), targets)
            for size, rows in self._rows.items()
        }
        found = []
        for number, (target, at_own) in enumerate(zip(targets, own, strict=True)):
            seen = {
                size: prediction
                for size, predictions in measured_at.items()
                if (prediction := predictions[number]) is not None
            }
            found.append(self._of_one(sizes, target, at_own, seen))
        return found

    def _of_one(
        self,
        sizes: Sequence[int],
        target: Target,
        at_own: Prediction | None,
        seen: Mapping[int, Prediction],
    ) -> dict[int, Prediction]:
        own = self._batch.size
        anchors = dict(seen)
        if not anchors and at_own is not None:
            anchors[own] = at_own
        if not anchors:
            return {}
        line = Line.through(self._batch, self._nodes, seen) if len(seen) > 1 else None
        found = {}
        for size in sizes:
            if size == own and at_own is not None:
                found[size] = at_own
            elif not self._memory.holds(target, self._per_node(size)):
                continue
            elif size in seen:
                there = seen[size]
                words = f"{there.evidence} at batch {size:,}"
                found[size] = there._replace(evidence=words)
            elif (carried := self._carried(size, anchors, line)) is not None:
                found[size] = carried
        return found

    def _carried(
        self, size: int, anchors: Mapping[int, Prediction], line: Line | None
    ) -> Prediction | None:
        """From the nearest batch that is known there, along its own line or another machine's."""
        start = min(anchors, key=lambda known: abs(math.log(known / size)))
        anchor = anchors[start]
        sigma, words = RUN_TO_RUN, "by a line through others"
        if line is None:
            like = self._most_like(start, anchor.median_step_time_s)
            if like is None:
                return None
            name, line = like
            there_s = line.step_s(start, self._passes(start))
            apart = abs(math.log(anchor.median_step_time_s / there_s))
            sigma = math.hypot(_SHARE_SIGMA, _SHARE_SIGMA_PER_LOG_RATIO * apart)
            sigma, words = self._ratio_sigma(line, start, size, sigma), f"as steps grow on {name}"
        ratio = self._ratio(line, start, size)
        doubt = math.hypot(anchor.sigma_log, sigma, line.beyond_sigma(size))
        basis = Basis.PREDICTED if anchor.basis is Basis.MEASURED else anchor.basis
        at = "" if start == self._batch.size else f" at batch {start:,}"
        return anchor._replace(
            median_step_time_s=anchor.median_step_time_s * ratio,
            sigma_log=min(doubt, MAX_SIGMA),
            basis=basis,
            evidence=f"{anchor.evidence}{at}; batch {size:,} {words}",
        )

    def _most_like(self, size: int, step_s: float) -> tuple[str, Line] | None:
        """The measured machine that takes most nearly so long at a batch."""
        passes = self._passes(size)

        def apart(named: tuple[str, Line]) -> float:
            return abs(math.log(named[1].step_s(size, passes) / step_s))

        return min(self._lines.items(), key=apart, default=None)

    def _ratio(self, line: Line, start: int, size: int, shift: float = 0.0) -> float:
        """T(size) / T(start); `shift` moves the log odds of what does not grow with the batch."""
        before, after = self._passes(start), self._passes(size)
        share = line.fixed_s * before / line.step_s(start, before)
        share = min(max(share, _LEAST_SHARE), 1 - _LEAST_SHARE)
        share = 1 / (1 + (1 - share) / share * math.exp(-shift))
        return share * after / before + (1 - share) * size / start

    def _ratio_sigma(self, line: Line, start: int, size: int, sigma: float) -> float:
        low, high = (self._ratio(line, start, size, shift) for shift in (-sigma, sigma))
        return abs(math.log(low / high)) / 2

    def _per_node(self, size: int) -> int:
        return size // self._nodes // self._passes(size)


class _Memory:
    """How many samples of a pass a machine has memory for, as far as measurements tell."""

    def __init__(self, job: Job, batch: Batch, rows: Sequence[Measurement]) -> None:
        def in_pass(row: Measurement) -> int:
            size = size_of(batch, row)
            shared = size - size % job.num_nodes or job.num_nodes
            return shared // job.num_nodes // batch.passes(shared, job.num_nodes)

        self._own = batch.size // job.num_nodes // batch.passes(batch.size, job.num_nodes)
        worked = [row for row in rows if row.status is Status.OK]
        self._uses_gpu = job_uses_gpu(job, worked)
        self._host = _Need([(in_pass(row), *_host_gib(row)) for row in worked])
        self._gpu = _Need([(in_pass(row), *_gpu_gib(row)) for row in worked])
        # On each machine, the largest pass that worked, and the smallest that failed beyond it.
        held: dict[str, int] = {}
        for row in worked:
            held[_name(row)] = max(held.get(_name(row), 0), in_pass(row))
        self._broke: dict[str, int] = {}
        for row in rows:
            name, samples = _name(row), in_pass(row)
            if row.status is Status.FAILED and samples > held.get(name, 0):
                self._broke[name] = min(self._broke.get(name, samples), samples)

    def holds(self, target: Target, samples: int) -> bool:
        """Whether a pass of so many is known to fit; no more than the job's own always is."""
        broke = self._broke.get(target.instance_type)
        if broke is not None and samples >= broke:
            return False
        if samples <= self._own:
            return True
        hardware: Hardware = target.hardware
        on_gpu = self._uses_gpu and hardware.gpu is not None
        need = (self._gpu if on_gpu else self._host).gib(samples)
        has = hardware.gpu_memory_gib if on_gpu else hardware.memory_gib
        # A machine whose memory nobody knows is one of the user's own, and says 0.
        return has <= 0 or (need is not None and need <= has)


class _Need:
    """Memory by the samples of a pass: what was enough, and a line through peaks beyond it.

    What was `seen`: samples, what was enough, and the peak of what was used.
    """

    def __init__(self, seen: Sequence[tuple[int, float | None, float | None]]) -> None:
        self._peak: dict[int, float] = {}
        self._enough: dict[int, float] = {}
        for samples, enough, peak in seen:
            if enough is not None:
                self._enough[samples] = min(enough, self._enough.get(samples, enough))
            if peak is not None:
                self._peak[samples] = max(peak, self._peak.get(samples, peak))

    def gib(self, samples: int) -> float | None:
        """What is enough for a pass of so many; None where nothing like it was seen."""
        enough = [gib for size, gib in self._enough.items() if size >= samples]
        if enough:
            return min(enough)
        if len(self._peak) < 2:
            return None
        (small, before), *_, (large, after) = sorted(self._peak.items())
        grows = max((after - before) / (large - small), 0.0)
        return _MEMORY_MARGIN * (max(after, before) + grows * (samples - large))


def _name(row: Measurement) -> str:
    return row.instance_type or row.config


def _host_gib(row: Measurement) -> tuple[float | None, float | None]:
    """What was enough memory, and the peak: what the machine has, where nobody looked."""
    has = row.hardware.memory_gib or None if row.hardware is not None else None
    peak = row.peak_memory_gib
    return (has if peak is None else peak), peak


def _gpu_gib(row: Measurement) -> tuple[float | None, float | None]:
    """The same of a GPU's. Without a GPU, what a job held in memory would be in the GPU's."""
    if row.peak_gpu_memory_gib:
        return row.peak_gpu_memory_gib, row.peak_gpu_memory_gib
    if row.hardware is not None and row.hardware.gpu is not None and row.gpu_used is not False:
        return row.hardware.gpu_memory_gib, None
    peak = None if row.peak_memory_gib is None else row.peak_memory_gib + _RUNTIME_GIB
    return peak, peak


def _pooled(job: Job, by_size: Mapping[int, Sequence[Measurement]]) -> dict[int, Prediction]:
    found = {size: pool(job, rows) for size, rows in by_size.items()}
    return {size: prediction for size, prediction in found.items() if prediction is not None}
