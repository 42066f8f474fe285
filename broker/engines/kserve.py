"""KServe: what of an InferenceService tells how it scales, on Knative.

Keys: https://kserve.github.io/website/docs/reference/crd-api, and of Knative's annotations
https://knative.dev/docs/serving/autoscaling/
"""

from typing import Any

from mlbroker.broker.engines.common import POD, resource
from mlbroker.broker.engines.interface import Ceiling, Export
from mlbroker.broker.files.other_tools.interface import words_of
from mlbroker.profiles.job import Job

WORDS = "a patch of KServe's InferenceService"
_KNATIVE = "autoscaling.knative.dev"


def export(job: Job, ceiling: Ceiling) -> Export:
    """A merge patch: model and container are not its business."""
    name = words_of(job.name, 63)
    # Knative aims at 70 % of a target, unless told: the target is what a replica serves. Without a
    # spare for bursts it sends requests to the replicas, whose queues end, past its own long one.
    annotations = {
        f"{_KNATIVE}/target-utilization-percentage": "100",
        f"{_KNATIVE}/target-burst-capacity": "0",
    }
    predictor: dict[str, Any] = {
        "minReplicas": ceiling.least,
        "maxReplicas": ceiling.most,
        "scaleMetric": "rps",
        "containerConcurrency": ceiling.queue_per_replica,
    }
    if ceiling.target_rps >= 1:
        predictor["scaleTarget"] = int(ceiling.target_rps)
    else:  # which is whole there, and would go before an annotation
        predictor["scaleTarget"] = None
        annotations[f"{_KNATIVE}/target"] = f"{max(ceiling.target_rps, 0.01):.4g}"
    head = f"# kubectl patch inferenceservice {name} --type merge --patch-file FILE\n"
    spec = {"predictor": predictor}
    text = resource("serving.kserve.io/v1beta1", "InferenceService", name, spec, annotations)
    notes = [
        f"A replica is given {ceiling.queue_per_replica} requests at once; Knative lets ten times"
        " as many wait before each, and answers 503 then, without Retry-After",
        "Knative counts requests a second: in Standard (raw) deployment mode take --to keda",
        "While a new revision is rolled out, the old one has replicas beside it",
        POD,
    ]
    return Export(head + text, tuple(notes))
