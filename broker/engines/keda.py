"""KEDA's ScaledObject.

Keys: https://keda.sh/docs/latest/reference/scaledobject-spec/
"""

from mlbroker.broker.engines.common import POD, resource, turns_nobody_away
from mlbroker.broker.engines.hpa import behavior
from mlbroker.broker.engines.interface import Ceiling, Export
from mlbroker.broker.files.other_tools.interface import words_of
from mlbroker.profiles.job import Job

WORDS = "KEDA's ScaledObject"
_SERVER = "http://prometheus.monitoring:9090"


def export(job: Job, ceiling: Ceiling) -> Export:
    """For a Deployment with the job's name, by requests that Prometheus counts."""
    assert job.service is not None
    name = words_of(job.name, 63)
    query = f'sum(rate(http_requests_total{{service="{name}"}}[1m]))'
    trigger = {
        "type": "prometheus",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": _SERVER,
            "query": query,
            "threshold": f"{ceiling.target_rps:.6g}",
        },
    }
    spec = {
        "scaleTargetRef": {"name": name},
        "minReplicaCount": ceiling.least,
        "maxReplicaCount": ceiling.most,
        "cooldownPeriod": int(job.service.downscale_s),
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior(job.service)}},
        "triggers": [trigger],
    }
    notes = [
        turns_nobody_away("KEDA", ceiling),
        f"The trigger asks {_SERVER} for {query}: put yours there, with a query for all requests",
        "An update of the Deployment runs pods beyond the ceiling unless its maxSurge is 0",
        POD,
    ]
    return Export(resource("keda.sh/v1alpha1", "ScaledObject", name, spec), tuple(notes))
