"""SkyServe: the `service:` of a task.

Keys: https://docs.skypilot.co/en/latest/serving/service-yaml-spec.html
"""

from typing import Any

from mlbroker.broker.engines.common import turns_nobody_away
from mlbroker.broker.engines.interface import Ceiling, Export
from mlbroker.broker.files.other_tools.job_text import yaml_text
from mlbroker.profiles.job import Job

WORDS = "a service of SkyServe's"


def export(job: Job, ceiling: Ceiling) -> Export:
    """The block, for the task that it belongs to."""
    service = job.service
    assert service is not None
    policy = {
        "min_replicas": ceiling.least,
        "max_replicas": ceiling.most,
        "target_qps_per_replica": float(f"{ceiling.target_rps:.6g}"),
        "upscale_delay_seconds": int(service.upscale_s),
        "downscale_delay_seconds": int(service.downscale_s),
    }
    block: dict[str, Any] = {
        "readiness_probe": {
            "path": service.readiness,
            "initial_delay_seconds": int(service.ready_s),
        },
        "replica_policy": policy,
    }
    if service.port is not None:
        block["ports"] = service.port
    notes = [
        turns_nobody_away("SkyServe's load balancer", ceiling),
        "SkyServe's controller is paid for beside the replicas, and an update runs old and new ones"
        " together: leave that much of the budget out",
        "Not in the file are num_overprovision and on-demand fallbacks, which start more than that,"
        " and load_balancing_policy, tls and a probe's post_data",
    ]
    return Export(yaml_text({"service": block}), tuple(notes))
