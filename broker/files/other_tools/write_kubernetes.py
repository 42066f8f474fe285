"""Kubernetes Jobs.

Keys: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/; labels of
nodes: https://kubernetes.io/docs/reference/labels-annotations-taints/, and those of GKE, EKS and
AKS for spot and attached GPUs.
"""

import re
from typing import Any

from mlbroker.broker.files.other_tools.interface import Chosen, script, words_of
from mlbroker.broker.files.other_tools.job_text import yaml_text
from mlbroker.pricing.gpu_names import NOT_CUDA

SAYS = ("instance_type", "infra", "zone", "arch", "use_spot", "deadline")
# Bash and Python on Debian: CUDA's libraries come with what a set-up installs.
IMAGE = "python:3.12"
_SPOT = {
    "aws": {True: ("eks.amazonaws.com/capacityType", "SPOT"),
            False: ("eks.amazonaws.com/capacityType", "ON_DEMAND")},
    "gcp": {True: ("cloud.google.com/gke-spot", "true")},
    "azure": {True: ("kubernetes.azure.com/scalesetpriority", "spot")},
}  # fmt: skip
_ARCH = {"x86_64": "amd64", "arm64": "arm64"}
# A node keeps a part of itself: more than half of it is to be had, once.
_SHARE = 0.6


def write(chosen: Chosen) -> str:
    """The Job, on nodes of the machine's type, a pod on each."""
    job, hardware, name = chosen.job, chosen.kind.hardware, words_of(chosen.job.name, 63)
    variables: list[Any] = [{"name": k, "value": _literal(v)} for k, v in job.envs.items()]
    for key in job.secrets:
        source = {"secretKeyRef": {"name": f"{name}-secrets", "key": key}}
        variables.append({"name": key, "valueFrom": source})
    labels, tolerations = _selector(chosen), []
    if (spot := _SPOT.get(chosen.kind.cloud, {}).get(chosen.spot)) and not chosen.own:
        labels |= [spot]
        taint = {"operator": "Equal", "value": spot[1], "effect": "NoSchedule"}
        tolerations.append({"key": spot[0], **taint})
    sizes: dict[str, Any] = {
        "requests": {
            "cpu": f"{hardware.vcpus * _SHARE * 1000:.0f}m",
            "memory": f"{hardware.memory_gib * _SHARE * 1024:.0f}Mi",
        }
    }
    if hardware.gpu is not None and chosen.gpus:
        device = "amd.com/gpu" if hardware.gpu.model in NOT_CUDA else "nvidia.com/gpu"
        sizes["limits"] = {device: chosen.gpus}
        tolerations.append({"key": device, "operator": "Exists"})
    container = {
        "name": "job",
        "image": IMAGE,
        "command": ["bash", "-c", _literal(script(job))],
        "env": variables,
        "resources": sizes,
    }
    pod: dict[str, Any] = {"restartPolicy": "Never", "nodeSelector": labels}
    if tolerations:  # of the taints that clusters put on such nodes
        pod["tolerations"] = tolerations
    pod["containers"] = [container]
    spec: dict[str, Any] = {"backoffLimit": 0}
    if chosen.time_limit_s:
        spec["activeDeadlineSeconds"] = chosen.time_limit_s
    if job.num_nodes > 1:
        spec |= {"parallelism": job.num_nodes, "completions": job.num_nodes}
        spec["completionMode"] = "Indexed"
    comments = f"# {IMAGE} holds nothing of yours: take an image with your code in its place.\n"
    if job.secrets:
        values = " ".join(f'--from-literal={key}="${key}"' for key in job.secrets)
        comments += f"# kubectl create secret generic {name}-secrets {values}\n"
    return comments + yaml_text(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name},
            "spec": spec | {"template": {"spec": pod}},
        }
    )


def _literal(text: str) -> str:
    """As it has to be written so that nothing in it is expanded by Kubernetes."""
    return re.sub(r"\$(?=[$(])", "$$", text)


def _selector(chosen: Chosen) -> dict[str, str]:
    arch = {"kubernetes.io/arch": _ARCH[chosen.kind.hardware.arch]}
    if chosen.own:
        return arch
    labels = {
        "node.kubernetes.io/instance-type": chosen.type_name,
        "topology.kubernetes.io/region": chosen.quote.region,
    }
    if chosen.option.zone:
        labels["topology.kubernetes.io/zone"] = chosen.option.zone
    if attached := chosen.kind.name.partition("+")[2]:
        labels["cloud.google.com/gke-accelerator"] = attached.partition(":")[0]
    return arch | labels
