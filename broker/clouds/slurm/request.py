"""What sbatch is asked for: the options of an attempt's job, and its script."""

import math
import shlex
from datetime import datetime
from pathlib import Path

from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.clouds.slurm.calls import Partition
from mlbroker.broker.files.node_slurm import SlurmPlace
from mlbroker.broker.files.nodes import Node

MIB_PER_GIB = 1024
_MINUTE_S = 60


def minutes_of(intent: Intent, partition: Partition | None) -> int:
    """The time limit in Slurm's minutes: what the cap pays for, or what the partition gives."""
    lifetime_s = (intent.kill_at - intent.intended_at).total_seconds()
    if partition is not None and partition.most_s is not None:
        lifetime_s = min(lifetime_s, partition.most_s)
    return max(1, math.ceil(lifetime_s / _MINUTE_S - 1e-6))


def options_of(token: str, node: Node, place: SlurmPlace, minutes: int, box: Path) -> list[str]:
    """sbatch's words. Never requeued, and never beside another job of its name."""
    hardware = node.hardware
    options = {
        "job-name": token,
        "dependency": "singleton",
        "time": str(minutes),
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": str(math.ceil(hardware.vcpus)),
        "mem": f"{math.floor(hardware.memory_gib * MIB_PER_GIB)}M",
        "chdir": str(box),
        # A % would begin one of Slurm's own patterns.
        "output": str(box / "guest.log").replace("%", "%%"),
        "open-mode": "append",
        "comment": "mlbroker",
        "partition": place.partition,
        "account": place.account,
        "qos": place.qos,
        "constraint": place.constraint,
    }
    if hardware.gpu is not None:
        options["gres"] = f"{place.gres}:{math.ceil(hardware.gpu_count)}"
    return ["--no-requeue", *(f"--{name}={value}" for name, value in options.items() if value)]


def script_of(box: Path, program: str) -> str:
    """The guest program takes the place of the shell: what Slurm signals, it hears."""
    words = ["python3", "-I", "-S", str(box / program), "attend", str(box)]
    return f"#!/bin/sh\nexec {shlex.join(words)}\n"


def begun_on(token: str) -> datetime | None:
    """The day of the run whose attempt this is, as its token tells; None where it tells none."""
    try:
        return datetime.strptime(token.split("-")[1], "%Y%m%d")
    except (IndexError, ValueError):
        return None
