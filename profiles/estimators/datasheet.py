"""Step times from data sheets alone: right within a factor, and saying so.

A roofline-like ratio of two machines: CPU work scales with cores (Amdahl) and CPU generation,
GPU work with the geometric mean of tensor peak and memory bandwidth. The ratio starts at a
measurement on other hardware: of a job never measured a data sheet tells how fast machines are
against each other, and no time.
"""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.estimators.measured import earlier, least_doubt, step_time_s
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Basis, Evidence, Prediction, Target


def amdahl(parallel: float, cores: float) -> float:
    """How much faster than on one core work is of which so much runs in parallel."""
    return 1 / ((1 - parallel) + parallel / cores)


# Share of CPU work that runs in parallel, unless measured: between data pipelines (about .8) and
# dense linear algebra (about .98 and more).
PARALLEL_FRACTION = 0.95
# The name of the measured one, among the features of a measurement.
FRACTION = "parallel_fraction"
# Two threads of one core do this much of the work of two cores.
THREAD_OF_TWO = 0.8
# From one measured machine to another: the spread of log time for equal speeds on paper, and its
# growth with the log of their ratio, as 80 % of pairs of CPU types need it (docs/benchmarks.md).
PAPER_SIGMA = 0.65
PAPER_SIGMA_PER_LOG_RATIO = 0.45
MOST_PAPER_SIGMA = 1.1
# What relative speeds are told against: four Ice Lake vCPUs, and a T4 for a job that uses GPUs.
REFERENCE_CPU_SPEED = amdahl(PARALLEL_FRACTION, 4 * THREAD_OF_TWO)
REFERENCE_GPU_SPEED = math.sqrt(65.0 * 320.0)
# From CPU to GPU or back: a T4 does about the work of 32 vCPUs on small networks. It depends on the
# job more than on the machines: four times as much, as the middle, on inference of language models
# (docs/benchmarks.md), and nothing on most others.
GPU_PER_CPU_SPEED = REFERENCE_GPU_SPEED / amdahl(PARALLEL_FRACTION, 32 * THREAD_OF_TWO)
CROSSING_SIGMA = 1.4


# What a share of a GPU (an eighth of an L4) does is its share of the units on paper. How its
# scheduler and the other tenants share them out nobody publishes: our guess, which comes on top.
SHARE_SIGMA = 0.35


def estimate(evidence: Evidence, targets: Sequence[Target]) -> list[Prediction | None]:
    """A prediction for every target whose data sheet says enough."""
    job = evidence.job
    rows = [
        row
        for row in evidence.measurements
        if row.status is Status.OK and row.hardware is not None and row.nodes == job.num_nodes
    ]
    if not rows:
        return [None] * len(targets)
    uses_gpu = job_uses_gpu(job, rows)
    parallel = parallel_fraction(rows)
    start = Start.measured(job, rows, uses_gpu)
    return [start.towards(target, uses_gpu, parallel) for target in targets]


def guess_key(job: Job) -> Hashable:
    """Without a measurement it tells no time of any job."""
    return None


def relative_speed(hardware: Hardware, uses_gpu: bool) -> float | None:
    """How fast a machine is against four Ice Lake vCPUs, or a T4 where the job uses GPUs; None
    where its data sheet says too little.
    """
    on_gpu = gpu_speed(hardware) if uses_gpu else 0.0
    if uses_gpu and hardware.gpu is not None and not on_gpu:
        return None
    on_cpu = cpu_speed(hardware, PARALLEL_FRACTION)
    if not uses_gpu:
        return on_cpu / REFERENCE_CPU_SPEED or None
    return (on_gpu or on_cpu * GPU_PER_CPU_SPEED) / REFERENCE_GPU_SPEED or None


def job_uses_gpu(job: Job, rows: Sequence[Measurement]) -> bool:
    """What measurements saw; without any, whether the job asks for a GPU."""
    seen = [row.gpu_used for row in rows if row.gpu_used is not None]
    return any(seen) if seen else job.may_use_gpu


def cpu_speed(hardware: Hardware, parallel: float) -> float:
    """Speed of the job's CPU work relative to one Ice Lake thread; 0 when unknown."""
    if hardware.vcpus <= 0:
        return 0.0
    # A burstable machine is planned with, and measured, while its credits last: at full speed.
    return (hardware.core_speed or 1.0) * amdahl(parallel, cores(hardware))


def cores(hardware: Hardware) -> float:
    """How many cores that run one thread its vCPUs are worth, at least one."""
    shared = hardware.threads_per_core is not None and hardware.threads_per_core > 1
    return max(1.0, hardware.vcpus * (THREAD_OF_TWO if shared else 1.0))


def gpu_speed(hardware: Hardware) -> float:
    """Geometric mean of tensor TFLOP/s and GB/s over the GPUs; 0 when unknown."""
    gpu = hardware.gpu
    if gpu is None or not gpu.memory_bandwidth_gb_per_s:
        return 0.0
    peak = gpu.tensor_tflops or gpu.fp32_tflops
    if not peak:
        return 0.0
    # Several GPUs of one machine rarely scale fully; .9 is data-parallel training within a node.
    # A share of a GPU is that share of its units and of its bandwidth.
    scale = hardware.gpu_count**0.9 if hardware.gpu_count > 1 else hardware.gpu_count
    return math.sqrt(peak * gpu.memory_bandwidth_gb_per_s) * scale


def share_sigma(hardware: Hardware) -> float:
    """How much less a share of a GPU is known than a whole one."""
    return SHARE_SIGMA if hardware.gpu and 0 < hardware.gpu_count < 1 else 0.0


def parallel_fraction(rows: Sequence[Measurement]) -> float:
    """Share of the job's CPU work that runs in parallel: as measured, else the usual one."""
    seen = [row.features[FRACTION] for row in rows if FRACTION in row.features]
    return min(max(sum(seen) / len(seen), 0.0), 0.999) if seen else PARALLEL_FRACTION


class Start(NamedTuple):
    """The machine and step time that ratios are taken from; `doubt` is that time's own error."""

    step_s: float
    cpu: float
    gpu: float
    sigma: float
    overhead_s: float
    evidence: str
    basis: Basis = Basis.DATASHEET
    doubt: float = 0.0

    @classmethod
    def measured(cls, job: Job, rows: Sequence[Measurement], uses_gpu: bool) -> "Start":
        doubt = least_doubt(rows)
        rows = [row for row in rows if row.doubt_log == doubt]
        # The fastest machine measured is the one most like what will be bought.
        row = min(rows, key=lambda row: step_time_s(job, row))
        words = f"scaled by data sheet from {row.instance_type or row.config}{earlier([row])}"
        return cls.at(job, row, uses_gpu, parallel_fraction(rows), words)

    @classmethod
    def at(cls, job: Job, row: Measurement, uses_gpu: bool, parallel: float, words: str) -> "Start":
        """The machine that one row is of."""
        assert row.hardware is not None
        on_gpu = gpu_speed(row.hardware) if uses_gpu else 0.0
        return cls(
            step_time_s(job, row),
            0.0 if on_gpu else cpu_speed(row.hardware, parallel),
            on_gpu,
            PAPER_SIGMA,
            row.overhead_s,
            words,
            doubt=row.doubt_log,
        )

    def towards(self, target: Target, uses_gpu: bool, parallel: float) -> Prediction | None:
        hardware = target.hardware
        on_gpu = gpu_speed(hardware) if uses_gpu else 0.0
        if self.gpu and on_gpu:
            ratio, crossing = self.gpu / on_gpu, 0.0
        elif self.cpu and not on_gpu:
            speed = cpu_speed(hardware, parallel)
            if not speed:
                return None
            ratio, crossing = self.cpu / speed, 0.0
        else:
            mine = self.gpu or self.cpu * GPU_PER_CPU_SPEED
            other = on_gpu or cpu_speed(hardware, parallel) * GPU_PER_CPU_SPEED
            if not mine or not other:
                return None
            ratio, crossing = mine / other, CROSSING_SIGMA
        # The farther apart two machines are, the less a ratio of peaks says, up to a point.
        apart = PAPER_SIGMA_PER_LOG_RATIO * abs(math.log(ratio))
        sigma = min(math.hypot(self.sigma, apart), MOST_PAPER_SIGMA)
        shared = share_sigma(hardware) if on_gpu else 0.0
        sigma = math.hypot(sigma, crossing, self.doubt, shared)
        return Prediction(self.step_s * ratio, sigma, self.basis, self.evidence, self.overhead_s)
