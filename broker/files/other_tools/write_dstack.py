"""dstack's tasks. Keys: https://dstack.ai/docs/reference/dstack.yml/task"""

import math
import shlex
from typing import Any

from mlbroker.broker.files.other_tools.interface import Chosen, script, words_of
from mlbroker.broker.files.other_tools.job_text import yaml_text

SAYS = (
    "workdir", "instance_type", "infra", "zone", "arch", "use_spot", "disk_size", "max_hourly_cost",
    "deadline",
)  # fmt: skip


def write(chosen: Chosen) -> str:
    """The task, pinned to the machine's type."""
    job, option, hardware = chosen.job, chosen.option, chosen.kind.hardware
    # A variable of several lines is none for dstack.
    long = {name: value for name, value in job.envs.items() if "\n" in value}
    exports = "".join(f"export {name}={shlex.quote(long[name])}\n" for name in long)
    variables = [f"{name}={value}" for name, value in job.envs.items() if name not in long]
    variables += job.secrets
    # dstack names a model without its memory.
    gpu = hardware.gpu
    model, _, size = gpu.model.partition("-") if gpu is not None else ("", "", "")
    name = f"{model}:{size}" if size.endswith("GB") else f"{model}{size}"
    resources: dict[str, Any] = {
        "cpu": f"{'arm' if hardware.arch == 'arm64' else 'x86'}:{math.floor(hardware.vcpus)}..",
        "memory": f"{math.floor(hardware.memory_gib)}GB..",
        "gpu": f"{name}:{chosen.gpus}" if chosen.gpus else None,
        "disk": f"{option.disk_gb}GB..",
    }
    place: dict[str, Any] = {
        "backends": [chosen.kind.cloud],
        "regions": [chosen.quote.region],
        "availability_zones": [option.zone] if option.zone else None,
        "instance_types": [chosen.type_name],
        "spot_policy": "spot" if chosen.spot else "on-demand",
    }
    price = option.max_price_per_hour_usd
    return yaml_text(
        {
            "type": "task",
            "name": words_of(job.name, 41),
            "nodes": job.num_nodes if job.num_nodes > 1 else None,
            "files": [f"{chosen.workdir}:."] if chosen.workdir else None,
            "env": variables or None,
            "commands": [exports + script(job)],
            "resources": {key: value for key, value in resources.items() if value is not None},
            **({} if chosen.own else place),
            "max_price": None if price is None else float(price),
            "max_duration": f"{chosen.time_limit_s}s" if chosen.time_limit_s else None,
        }
    )
