"""Step times from what the user says the job takes: a weak measurement, and said to be one.

Speaks where nothing was measured: a measurement of the job beats what its user remembers.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace

from mlbroker.pricing.offer import Gpu, Hardware
from mlbroker.profiles.estimators.datasheet import Start, job_uses_gpu, parallel_fraction
from mlbroker.profiles.job import Job, StatedTime
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Z90, Basis, Evidence, Prediction, Target

# What people say is taken to be right within a factor of two in four cases of five: an assumption,
# wide on purpose. On any other machine the error of the data sheets comes on top.
STATED_SIGMA = math.log(2) / Z90


NOMINAL_S = 7200.0


def hint_of(job: Job, hardware: Hardware) -> Measurement | None:
    """What the user says the job takes on a machine, as if it had been measured there."""
    if job.takes is None:
        return None
    name = job.takes.instance_type
    return Measurement(
        job=job.name,
        config=name,
        time_s=job.takes.whole_s,
        instance_type=name,
        nodes=job.num_nodes,
        hardware=hardware,
        sigma_log=STATED_SIGMA,
        # Who names a machine with a GPU means a job that uses it.
        gpu_used=True if hardware.gpu else None,
    )


def nominal(job: Job) -> Measurement:
    """A hint that nobody gave, by which machines are put in the order of what work costs on them.

    Only to choose where to measure: no figure that follows from it may be shown.
    """
    gpu = Gpu("T4", 16, 8.1, 65.0, 320.0, 70.0) if job.may_use_gpu else None
    hardware = Hardware(4, 16, "x86_64", cpu="Ice Lake", gpu=gpu, gpu_count=1 if gpu else 0)
    takes = StatedTime(NOMINAL_S, "a usual machine")
    hint = hint_of(replace(job, takes=takes), hardware)
    assert hint is not None
    return hint


def estimate(evidence: Evidence, targets: Sequence[Target]) -> list[Prediction | None]:
    """A prediction for every target whose data sheet says enough, from a hint on known hardware."""
    hint, job = evidence.hint, evidence.job
    if hint is None or hint.hardware is None:
        return [None] * len(targets)
    uses_gpu, parallel = job_uses_gpu(job, [hint]), parallel_fraction([hint])
    said = f"said to take {hint.time_s / 3600:.3g} h on {hint.config}"
    start = Start.at(job, hint, uses_gpu, parallel, f"{said}; scaled from there by data sheet")
    start = start._replace(basis=Basis.STATED, doubt=STATED_SIGMA)
    here = Prediction(start.step_s, STATED_SIGMA, Basis.STATED, said)
    return [
        here if target.hardware == hint.hardware else start.towards(target, uses_gpu, parallel)
        for target in targets
    ]


def guess_key(job: Job) -> Hashable:
    """What is said, of how many steps, on how many machines."""
    takes = job.takes
    return takes and (takes, job.work and job.work.steps, job.num_nodes, job_uses_gpu(job, ()))
