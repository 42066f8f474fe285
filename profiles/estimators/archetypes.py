"""Closed-form jobs: what a job's times may look like over machines, before any was ever measured.

None of them is any job; a first job is believed to be like some of them, and its measurements say
which. Each is a case of `history.Prior`, in place of the past jobs that nobody has yet.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from mlbroker.pricing.gpu_names import NOT_CUDA
from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.arrays import Array
from mlbroker.profiles.estimators.datasheet import THREAD_OF_TWO, amdahl
from mlbroker.profiles.transfer.belief import Belief
from mlbroker.profiles.transfer.history import (
    Completed,
    PastJob,
    Prior,
    Shapes,
    enough,
    first_job,
    prior,
)
from mlbroker.profiles.transfer.space import Space

# Shares of the work that run in parallel: of a script, of data pipelines, of linear algebra.
PARALLEL = (0.3, 0.7, 0.9, 0.98)
# Memory that a job would like to have, all nodes together (0: whatever there is will do). What
# finds no room is read from disk, and a job that reads all of it from there is so much slower.
WORKING_SETS_GIB = (0.0, 16.0, 64.0, 256.0)
FROM_DISK = 4.0
# How many Ice Lake threads a T4 replaces: of little networks, up to what GPUs are built for.
GPU_GAINS = (2.0, 10.0, 50.0, 250.0)
# What work on a GPU waits for: exponents of its memory bandwidth and of its peak, both of a T4's.
GPU_BOUNDS = ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5))
T4_GB_PER_S, T4_TFLOPS = 320.0, 65.0
# Memory of GPUs below which a job does not run on them: models of different sizes.
GPU_SETS_GIB = (0.0, 8.0, 20.0)
# Several GPUs of a machine rarely scale fully (see `datasheet`).
GPUS_EXPONENT = 0.9
# Without past jobs: how far from their data sheets machines without a GPU are believed to be, in
# parts of what specifications leave open. At so much, two measured machines tell no less of a third
# than a data sheet tells from one of them, and 80 % intervals hold about that often.
SHEET_DOUBT = 0.35
# The same of machines with a GPU: twice as far, as their data sheets say less of what jobs get.
GPU_DOUBT = 0.6
# A measurement may have seen another phase of the job than the one that counts.
SEEN_WRONG = 0.02
NO_GPU = (1.0, 1.0, 0.0, 0.0, False)
# A parallel fraction measured here is that of the job's shape within so much, in log odds.
FRACTION_SIGMA = 1.5


class Seen(NamedTuple):
    """What a measurement saw of the job beside its times; None: nobody looked.

    `uses_gpu` where there was one; `parallel` is the share of its work that runs in parallel.
    """

    uses_gpu: bool | None = None
    parallel: float | None = None


NOTHING_SEEN = Seen()
# The parallel share of every archetype, in the order of `shapes`: first those without a GPU.
_ON_CPU = [share for _, share, _ in product(range(2), PARALLEL, WORKING_SETS_GIB)]
_ON_GPU = [share for share, _, _ in product(PARALLEL, GPU_GAINS, GPU_BOUNDS)]
ON_CPU, _PARALLEL = len(_ON_CPU), np.array([*_ON_CPU, *_ON_GPU])


def believed(
    space: Space,
    hardware: Sequence[Hardware | None],
    nodes: Sequence[int],
    candidates: Array,
    past: Sequence[PastJob],
    completed: Sequence[Completed],
    seen: Seen = NOTHING_SEEN,
) -> Prior:
    """What is believed of a job on these candidate rows (C,) of the space before it is measured.

    `hardware` and `nodes` are of all rows. Where past jobs are not enough, closed-form jobs stand
    in for others; where they are, these are the worlds in which the job is like none of them.
    """
    forms = shapes([hardware[n] for n in candidates], [nodes[n] for n in candidates], seen)
    sceptical = space._replace(doubt=np.array([doubt(each) for each in hardware]))
    if enough(past):
        unlike = first_job(sceptical, candidates, [], [], forms)
        return prior(space, candidates, past, completed, unlike)
    return first_job(sceptical, candidates, past, completed, forms)


def doubt(hardware: Hardware | None) -> float:
    """How far jobs are believed to be from what is known of the hardware, with no past to tell."""
    if hardware is None:
        return 1.0
    return GPU_DOUBT if hardware.gpu else SHEET_DOUBT


def shapes(
    hardware: Sequence[Hardware | None], nodes: Sequence[int], seen: Seen = NOTHING_SEEN
) -> Shapes:
    """Log times of every archetype on so many nodes of each hardware."""
    known = [(n, h) for n, h in enumerate(hardware) if h is not None and h.vcpus > 0]
    places, boxes = [n for n, _ in known], [h for _, h in known]
    count = np.array([nodes[n] for n in places], dtype=float)
    memory = np.array([h.memory_gib for h in boxes]) * count
    core = np.array([h.core_speed or 1.0 for h in boxes])
    threads = np.array([h.threads_per_core or 1 for h in boxes])
    vcpus = np.array([h.vcpus for h in boxes])
    all_cores = np.maximum(vcpus * np.where(threads > 1, THREAD_OF_TWO, 1.0), 1.0)
    # What lies on another socket may be of no use.
    one_socket = np.maximum(all_cores / np.array([h.sockets or 1 for h in boxes]), 1.0)
    without, with_gpu = [], []
    kinds = product((all_cores, one_socket), PARALLEL, WORKING_SETS_GIB)
    for number, (cores, share, wanted) in enumerate(kinds):
        # Of every other job each node does its part by itself; to the rest, all of their cores are
        # those of one machine.
        alone = (number + number // len(WORKING_SETS_GIB)) % 2 == 0
        gain = amdahl(share, cores) if alone else amdahl(share, cores * count) / count
        missing = np.maximum(0.0, 1 - memory / wanted) if wanted else 0.0
        without.append(core * gain / (1 + FROM_DISK * missing))
    on_cpu = [core * amdahl(share, all_cores) for share in PARALLEL]
    gpus = np.array([_of_gpus(h) if h.gpu else NO_GPU for h in boxes]).reshape(-1, 5)
    waits = [(gpus[:, 0] ** bandwidth, gpus[:, 1] ** peak) for bandwidth, peak in GPU_BOUNDS]
    numbers = map(range, map(len, (on_cpu, GPU_GAINS, GPU_BOUNDS)))
    for share, gain, bound in product(*numbers):
        # Not every pair of the rest, but each of it about equally often: a third needs so much
        # memory of GPUs, and half of the jobs have no program for the processor of an Arm host.
        number = share + gain + bound
        bandwidth, peak = waits[bound]
        runs = gpus[:, 3] >= GPU_SETS_GIB[number % len(GPU_SETS_GIB)]
        if number % 2:
            runs &= gpus[:, 4] == 0
        rate = GPU_GAINS[gain] * bandwidth * peak * gpus[:, 2]
        with_gpu.append(np.maximum(on_cpu[share], np.where(runs, rate, 0.0)))
    log_times = np.full((len(without) + len(with_gpu), len(hardware)), math.nan)
    log_times[:, places] = -np.log(np.array([*without, *with_gpu]) * count)
    gpu = np.full(len(hardware), math.nan)
    gpu[places] = gpus[:, 2] > 0
    return Shapes(log_times, _weights(seen), gpu)


def _weights(seen: Seen) -> Array:
    """Chances of all archetypes, those on processors first.

    Jobs that use no GPU weigh as much, together, as those that use one. Where it was seen whether
    this one does, the others are hardly possible; the less of it runs in parallel, the less it is
    a job for a GPU.
    """
    if seen.uses_gpu is not None:
        chance = 1 - SEEN_WRONG if seen.uses_gpu else SEEN_WRONG
    else:
        chance = 0.5 if seen.parallel is None else max(0.5 * seen.parallel, SEEN_WRONG)
    alike = np.ones(len(_PARALLEL))
    if seen.parallel is not None:
        off = _log_odds(_PARALLEL) - _log_odds(np.clip(seen.parallel, 0.02, 0.995))
        alike = np.exp(-((off / FRACTION_SIGMA) ** 2) / 2)
    on_gpu = np.arange(len(_PARALLEL)) >= ON_CPU
    share = [alike[each] / alike[each].sum() for each in (~on_gpu, on_gpu)]
    return np.concatenate([(1 - chance) * share[0], chance * share[1]])


def _log_odds(share: Array) -> Array:
    return np.asarray(np.log(share / (1 - share)))


def favoured(belief: Belief) -> str:
    """Which archetypes a first job's measurements favour, in words; nothing of any other job."""
    if not belief.prior.first:
        return ""
    places = belief.cases - 1  # the first case is a job unlike all
    form = (places >= 0) & (places < len(_PARALLEL))
    weights, places = belief.weights[form], places[form]
    if not len(places):
        return ""
    weights = weights / weights.sum()
    gpu = float(weights[places >= ON_CPU].sum())
    order = np.argsort(_PARALLEL[places], kind="stable")
    middle = int(np.searchsorted(weights[order].cumsum(), 0.5))
    parallel = float(_PARALLEL[places[order[min(middle, len(order) - 1)]]])
    use = (
        f"with use for a GPU ({gpu:.0%})" if gpu > 0.5 else f"without use for a GPU ({1 - gpu:.0%})"
    )
    return f"most like a job {use}, {parallel:.0%} of it parallel"


def _of_gpus(hardware: Hardware) -> tuple[float, float, float, float, bool]:
    """Bandwidth and peak against a T4's, what its number counts, all their memory, an Arm host.

    Where CUDA does not run, or no data sheet says how fast it is, it counts nothing.
    """
    gpu, count, arm = hardware.gpu, hardware.gpu_count, hardware.arch == "arm64"
    peak = gpu and (gpu.tensor_tflops or gpu.fp32_tflops)
    if gpu is None or gpu.model in NOT_CUDA or not gpu.memory_bandwidth_gb_per_s or not peak:
        return NO_GPU
    number = count**GPUS_EXPONENT if count > 1 else count
    memory_gib = hardware.gpu_memory_gib
    return gpu.memory_bandwidth_gb_per_s / T4_GB_PER_S, peak / T4_TFLOPS, number, memory_gib, arm
