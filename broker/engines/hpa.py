"""Kubernetes' HorizontalPodAutoscaler.

Keys: https://kubernetes.io/docs/reference/kubernetes-api/autoscaling/horizontal-pod-autoscaler-v2/
"""

from typing import Any

from mlbroker.broker.engines.common import POD, resource, turns_nobody_away
from mlbroker.broker.engines.interface import Ceiling, Export
from mlbroker.broker.files.other_tools.interface import words_of
from mlbroker.profiles.job import Job
from mlbroker.profiles.service import Service

WORDS = "Kubernetes' HorizontalPodAutoscaler"
_METRIC = "http_requests_per_second"
# The API's bound.
_LONGEST_WINDOW_S = 3600


def export(job: Job, ceiling: Ceiling) -> Export:
    """For a Deployment with the job's name."""
    assert job.service is not None
    name = words_of(job.name, 63)
    target = {"type": "AverageValue", "averageValue": f"{max(int(ceiling.target_rps * 1000), 1)}m"}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": max(ceiling.least, 1),
        "maxReplicas": ceiling.most,
        "metrics": [
            {"type": "Pods", "pods": {"metric": {"name": _METRIC}, "target": target}},
        ],
        "behavior": behavior(job.service),
    }
    notes = [
        turns_nobody_away("A HorizontalPodAutoscaler", ceiling),
        f"Of each pod {_METRIC} must be served (by Prometheus Adapter, for example)",
        "An update of the Deployment runs pods beyond the ceiling unless its maxSurge is 0",
        POD,
    ]
    if ceiling.least == 0:
        notes.append("There is 1 replica at least, not 0: to none it scales behind a feature gate")
    text = resource("autoscaling/v2", "HorizontalPodAutoscaler", name, spec)
    return Export(text, tuple(notes))


def behavior(service: Service) -> dict[str, Any]:
    """How long it waits before it follows its load up and down."""
    waits = {"scaleUp": service.upscale_s, "scaleDown": service.downscale_s}
    return {
        way: {"stabilizationWindowSeconds": min(int(delay_s), _LONGEST_WINDOW_S)}
        for way, delay_s in waits.items()
    }
