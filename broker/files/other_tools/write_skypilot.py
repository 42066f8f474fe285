"""SkyPilot's tasks. Keys: https://docs.skypilot.co/en/latest/reference/yaml-spec.html"""

from typing import Any

from mlbroker.broker.files.other_tools.interface import Chosen
from mlbroker.broker.files.other_tools.job_text import yaml_text

SAYS = (
    "workdir", "instance_type", "infra", "zone", "arch", "use_spot", "disk_size", "image_id",
    "max_hourly_cost",
)  # fmt: skip


def write(chosen: Chosen) -> str:
    """The task, pinned to the machine's type; on a machine of one's own, with its sizes."""
    job, option, hardware = chosen.job, chosen.option, chosen.kind.hardware
    resources: dict[str, Any] = {"disk_size": option.disk_gb}
    gpu = hardware.gpu
    accelerators = f"{gpu.model}:{chosen.gpus}" if gpu is not None and chosen.gpus else None
    if chosen.own:
        resources |= {"cpus": f"{hardware.vcpus:g}+", "memory": f"{hardware.memory_gib:g}+"}
    else:
        place = [chosen.kind.cloud, chosen.quote.region, option.zone]
        resources |= {
            "infra": "/".join(filter(None, place)),
            "instance_type": chosen.type_name,
            "use_spot": chosen.spot,
            "image_id": option.image_id,
        }
    if chosen.own or "+" in chosen.kind.name:
        resources["accelerators"] = accelerators
    if option.max_price_per_hour_usd is not None:
        resources["max_hourly_cost"] = float(option.max_price_per_hour_usd)
    return yaml_text(
        {
            "name": job.name,
            "workdir": chosen.workdir,
            "num_nodes": job.num_nodes if job.num_nodes > 1 else None,
            "resources": {key: value for key, value in resources.items() if value is not None},
            "envs": dict(job.envs) or None,
            "secrets": dict.fromkeys(job.secrets) or None,
            "setup": job.setup,
            "run": job.command,
        }
    )
