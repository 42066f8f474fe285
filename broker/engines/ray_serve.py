"""Ray Serve: the config file of `serve deploy`.

Keys: https://docs.ray.io/en/latest/serve/production-guide/config.html
"""

from math import ceil, log
from typing import Any

from mlbroker.broker.engines.interface import Ceiling, Export
from mlbroker.broker.files.other_tools.job_text import yaml_text
from mlbroker.profiles.job import Job
from mlbroker.profiles.service import Measure, ServiceObjective

WORDS = "a config file of Ray Serve"
_IMPORT_PATH = "serve:app"


def export(job: Job, ceiling: Ceiling) -> Export:
    """One application with one deployment, both with the job's name."""
    service, queue = job.service, ceiling.queue_per_replica
    assert service is not None
    scaling: dict[str, Any] = {"min_replicas": ceiling.least, "max_replicas": ceiling.most}
    notes = [
        f"Guessed are {_IMPORT_PATH} and the deployment's name {job.name!r}: put yours there",
        f"A replica has at most {queue} requests at once, and each proxy lets {queue} wait; who"
        " comes then is answered 429 (by a Ray without backpressure_config 503)",
        "A replica is reckoned at the price of a machine of its own: give it all of one"
        " (ray_actor_options), and the cluster no more workers; its head is paid for beside them",
    ]
    flight = _in_flight(service.objective, ceiling.target_rps)
    if flight is None:
        notes.append(
            "Without an objective for latency nobody knows how many requests are in flight at a"
            " replica's capacity: target_ongoing_requests is not set (Ray's is 2)"
        )
    else:
        scaling["target_ongoing_requests"] = float(f"{flight:.4g}")
        notes.append(
            f"Requests in flight ({flight:.4g} at a replica's capacity) are Little's law, latencies"
            " taken for exponential: set target_ongoing_requests to what you measure"
        )
    scaling["upscale_delay_s"], scaling["downscale_delay_s"] = (
        service.upscale_s,
        service.downscale_s,
    )
    deployment = {
        "name": job.name,
        "max_ongoing_requests": queue,
        "max_queued_requests": queue,
        "backpressure_config": {
            "status_code": 429,
            "retry_after_s": float(max(ceil(queue / ceiling.target_rps), 1)),
        },
        "autoscaling_config": scaling,
    }
    application = {
        "name": job.name,
        "route_prefix": "/",
        "import_path": _IMPORT_PATH,
        "deployments": [deployment],
    }
    return Export(yaml_text({"applications": [application]}), tuple(notes))


def _in_flight(objective: ServiceObjective | None, rps: float) -> float | None:
    """Requests that a replica has at once at its capacity: rate times mean latency (Little).

    Of exponential latencies, as of an M/M/1 queue, the share is within L where their mean is
    L / ln(1 / (1 - share)).
    """
    if objective is None or objective.measure is not Measure.LATENCY or objective.share >= 1:
        return None
    return rps * objective.within_s / log(1 / (1 - objective.share))
