"""Closed-form jobs: what a job's times may look like over machines, before any was ever measured.

None of them is any job; a first job is believed to be like some of them, and its measurements say
which. Each is a case of `history.Prior`, in place of the past jobs that nobody has yet.
"""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np

from mlbroker.pricing.gpu_names import NOT_CUDA
from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.estimators.datasheet import THREAD_OF_TWO
from mlbroker.profiles.transfer.history import Shapes

# Shares of the work that run in parallel: of a script, of data pipelines, of linear algebra.
PARALLEL = (0.3, 0.7, 0.9, 0.98)
# Memory that a job would like to have, all nodes together (0: whatever there is will do). What
# finds no room is read from disk, and a job that reads all of it from there is so much slower.
WORKING_SETS_GIB = (0.0, 16.0, 64.0)
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
# A measurement may have seen another phase of the job than the one that counts.
SEEN_WRONG = 0.02
NO_GPU = (1.0, 1.0, 0.0, 0.0, False)


def shapes(
    hardware: Sequence[Hardware | None], nodes: Sequence[int], uses_gpu: bool | None = None
) -> Shapes:
    """Log times of every archetype on so many nodes of each hardware.

    Jobs that use no GPU weigh as much, together, as those that use one; where it was seen whether
    this one does (`uses_gpu`), the others are hardly possible.
    """
    known = [(n, h) for n, h in enumerate(hardware) if h is not None and h.vcpus > 0]
    places, boxes = [n for n, _ in known], [h for _, h in known]
    count = np.array([nodes[n] for n in places], dtype=float)
    memory = np.array([h.memory_gib for h in boxes]) * count
    core = np.array([h.core_speed or 1.0 for h in boxes])
    threads = np.array([h.threads_per_core or 1 for h in boxes])
    vcpus = np.array([h.vcpus for h in boxes])
    all_cores = np.maximum(vcpus * np.where(threads > 1, THREAD_OF_TWO, 1.0), 1.0)
    one_socket = np.maximum(all_cores / np.array([h.sockets or 1 for h in boxes]), 1.0)
    on_cpu = [core / (1 - share + share / all_cores) for share in PARALLEL]
    # What lies on another socket may be of no use.
    on_socket = [core / (1 - share + share / one_socket) for share in PARALLEL]
    without, with_gpu = [], []
    for speed, wanted in product([*on_cpu, *on_socket], WORKING_SETS_GIB):
        missing = np.maximum(0.0, 1 - memory / wanted) if wanted else 0.0
        without.append(speed / (1 + FROM_DISK * missing))
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
    chance = 0.5 if uses_gpu is None else 1 - SEEN_WRONG if uses_gpu else SEEN_WRONG
    weights = [(1 - chance) / len(without)] * len(without) + [chance / len(with_gpu)] * len(
        with_gpu
    )
    return Shapes(log_times, np.array(weights))


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
