"""Slurm's batch scripts. Options: https://slurm.schedmd.com/sbatch.html"""

import math
import shlex

from mlbroker.broker.files.other_tools.interface import Chosen, script

SAYS = ("workdir", "deadline")


def write(chosen: Chosen) -> str:
    """The script for a node as large as the machine: which that is, its cluster knows."""
    job, hardware = chosen.job, chosen.kind.hardware
    options = [f"job-name={job.name}", f"nodes={job.num_nodes}", "ntasks-per-node=1"]
    options.append(f"cpus-per-task={math.ceil(hardware.vcpus)}")
    options.append(f"mem={math.floor(hardware.memory_gib * 1024)}M")
    if hardware.gpu is not None and chosen.gpus:
        model = hardware.gpu.model.lower().replace("-", "_")
        options.append(f"gres=gpu:{model}:{chosen.gpus}")
    if (seconds := chosen.time_limit_s) is not None:
        days, rest = divmod(seconds, 86400)
        options.append(f"time={days}-{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}")
    if chosen.workdir not in (None, "."):
        options.append(f"chdir={shlex.quote(chosen.workdir or '')}")
    names = [f"export {name}={shlex.quote(value)}" for name, value in job.envs.items()]
    names += [f"# {name} is taken from your environment." for name in job.secrets]
    body = script(job).rstrip("\n")
    if job.num_nodes > 1:
        # sbatch starts a script on the first node only; srun hands its input to each.
        body = f"srun --ntasks-per-node=1 bash <<'END_OF_JOB'\n{body}\nEND_OF_JOB"
    head = [f"#SBATCH --{option}" for option in options]
    return "\n".join(["#!/bin/bash", *head, *names, body]) + "\n"
