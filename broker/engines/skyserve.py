"""SkyServe: the `service:` of a task.

Keys: https://docs.skypilot.co/en/latest/serving/service-yaml-spec.html
"""

from typing import Any

from mlbroker.broker.engines.common import turns_nobody_away
from mlbroker.broker.engines.interface import Ceiling, Export
from mlbroker.broker.files.other_tools.job_text import yaml_text
from mlbroker.profiles.job import Job
from mlbroker.profiles.service import Readiness

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
        "readiness_probe": _probe(service.readiness),
        "replica_policy": policy,
    }
    if service.port is not None:
        block["ports"] = service.port
    notes = [
        turns_nobody_away("SkyServe's load balancer", ceiling),
        "SkyServe's controller is paid for beside the replicas, and an update runs old and new ones"
        " together: leave that much of the budget out",
        "Not in the file are num_overprovision and on-demand fallbacks, which start more than that,"
        " and load_balancing_policy and tls",
    ]
    return Export(yaml_text({"service": block}), tuple(notes))


def _probe(asked: Readiness) -> dict[str, Any]:
    probe: dict[str, Any] = {"path": asked.path, "initial_delay_seconds": int(asked.within_s)}
    if asked.timeout_s != Readiness().timeout_s:
        probe["timeout_seconds"] = int(asked.timeout_s) or 1
    if asked.body is not None:
        probe["post_data"] = asked.body
    if asked.headers:
        probe["headers"] = dict(asked.headers)
    return probe
