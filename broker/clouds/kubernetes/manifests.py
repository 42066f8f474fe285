"""The objects of an attempt: its Job, and the Secret that its pod reads.

Job: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/; labels:
https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set;
Kueue: https://kueue.sigs.k8s.io/docs/tasks/run/jobs/.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.clouds.kubernetes.places import Place

Object = dict[str, Any]

# What the cluster gives a pod between SIGTERM and the kill: a checkpoint is written and carried.
GRACE_S = 30
# A Job that nobody settled is looked for so long; the cluster then removes it.
KEPT_S = 7 * 86400
MANAGED, MANAGER = "app.kubernetes.io/managed-by", "mlbroker"
HASH, JOB, ATTEMPT = "mlbroker-hash", "mlbroker-job", "mlbroker-attempt"
# The condition of a pod that was evicted, preempted, or on a node that is drained or gone.
TAKEN = "DisruptionTarget"
_KUEUE = "kueue.x-k8s.io/queue-name"
_KUEUE_PRIORITY = "kueue.x-k8s.io/priority-class"
_ARCH = {"x86_64": "amd64", "arm64": "arm64"}
# In the pod.
SHARED, BOXES, SECRETS = "/mlbroker/shared", "/mlbroker/box", "/mlbroker/secrets"
_PROGRAM = f"{BOXES}/guest.pyz"
# The first words of the container: a program that somebody changed in the volume is not run.
_START = """\
import hashlib, sys
source, digest, program = sys.argv[1:4]
with open(source, "rb") as file:
    data = file.read()
if hashlib.sha256(data).hexdigest() != digest:
    sys.exit("mlbroker: the guest program in the volume is not the one that was sent")
with open(program, "wb") as file:
    file.write(data)
sys.path.insert(0, program)
from broker.clouds.kubernetes.guest import main
sys.exit(main(sys.argv[3:]))
"""


def tags_as_labels(tags: Mapping[str, str]) -> dict[str, str]:
    """What objects of ours are found by."""
    return {MANAGED: MANAGER, **tags}


def selector(labels: Mapping[str, str]) -> str:
    """As a list is asked for those with these labels."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def job(intent: Intent, place: Place, folder: str, digest: str, secret: bool) -> Object:
    """The Job without its time limit, which is counted when it is sent.

    `folder` is the attempt's in the volume, `digest` the guest program's. `secret`: there is a
    Secret of the same name to be read.
    """
    cluster = place.cluster
    labels = {
        **tags_as_labels(intent.tags),
        JOB: label_value(intent.job),
        ATTEMPT: str(intent.attempt),
    }
    pod: Object = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": {"kubernetes.io/arch": _ARCH[place.arch], **dict(cluster.node_selector)},
        "containers": [_container(place, folder, digest, secret)],
        "volumes": _volumes(intent.token, cluster.claim, secret),
    }
    if place.gpus:
        # Clusters keep others off such nodes by a taint of the resource's name.
        pod["tolerations"] = [{"key": cluster.gpu_resource, "operator": "Exists"}]
    if cluster.service_account is not None:
        pod["serviceAccountName"] = cluster.service_account
    if cluster.priority_class is not None and cluster.queue is None:
        pod["priorityClassName"] = cluster.priority_class
    if cluster.run_as_user is not None:
        # No fsGroup: it would give the whole volume to that group.
        pod["securityContext"] = {
            "runAsUser": cluster.run_as_user,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    spec: Object = {
        "backoffLimit": 0,
        "parallelism": 1,
        "completions": 1,
        "ttlSecondsAfterFinished": KEPT_S,
        # That a pod was taken away is remembered with the Job: the pod itself is soon forgotten.
        "podFailurePolicy": {
            "rules": [{"action": "FailJob", "onPodConditions": [{"type": TAKEN, "status": "True"}]}]
        },
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    top = dict(labels)
    if cluster.queue is not None:
        top[_KUEUE] = cluster.queue
        if cluster.priority_class is not None:
            top[_KUEUE_PRIORITY] = cluster.priority_class
        spec["suspend"] = True
    made: Object = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": intent.token, "labels": top},
        "spec": spec,
    }
    told = json.dumps([made, intent.kill_at.isoformat()], sort_keys=True)
    top[HASH] = hashlib.sha256(told.encode()).hexdigest()[:40]
    return made


def limited(made: Object, seconds: int) -> Object:
    """The same, ended by the cluster: the Job so long after its start, and the pod after its own.

    The Job's limit counts while its pod waits; the pod's holds when somebody removes the Job alone.
    """
    spec, limit = made["spec"], {"activeDeadlineSeconds": seconds}
    pods = {**spec["template"], "spec": {**spec["template"]["spec"], **limit}}
    return {**made, "spec": {**spec, **limit, "template": pods}}


def secret_of(intent: Intent, values: Mapping[str, str], job: Object) -> Object:
    """The values of the secrets of this Job, to be read as files; with it they go."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": intent.token}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": intent.token,
            "labels": tags_as_labels(intent.tags),
            "ownerReferences": [{**owner, "uid": job["metadata"]["uid"]}],
        },
        "type": "Opaque",
        "immutable": True,
        "data": {k: base64.b64encode(v.encode()).decode() for k, v in values.items()},
    }


def label_value(text: str) -> str:
    """Anybody's words, as the value of a label."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)[:63].strip("._-")


def _container(place: Place, folder: str, digest: str, secret: bool) -> Object:
    cluster = place.cluster
    sizes: dict[str, Any] = {
        "cpu": f"{place.vcpus * 1000:.0f}m",
        "memory": f"{place.memory_gib * 1024:.0f}Mi",
    }
    if place.gpus:
        sizes[cluster.gpu_resource] = str(place.gpus)
    context: Object = {"allowPrivilegeEscalation": False}
    if cluster.run_as_user is not None:
        # As namespaces want it that enforce the "restricted" standard.
        context["capabilities"] = {"drop": ["ALL"]}
    # Nothing of the volume but the attempt's own.
    inside = folder if cluster.sub_path is None else f"{cluster.sub_path.rstrip('/')}/{folder}"
    mounts: list[Object] = [
        {"name": "shared", "mountPath": f"{SHARED}/{folder}", "subPath": inside},
        {"name": "box", "mountPath": BOXES},
        {"name": "memory", "mountPath": "/dev/shm"},  # noqa: S108  # of 64 MiB without it
    ]
    if secret:
        mounts.append({"name": "secrets", "mountPath": SECRETS, "readOnly": True})
    program = f"{SHARED}/{folder}/guest.pyz"
    return {
        "name": "job",
        "image": cluster.image,
        "command": ["python3", "-I", "-c", _START, program, digest, _PROGRAM],
        "args": [SHARED, folder, BOXES, SECRETS if secret else ""],
        "env": [{"name": "HOME", "value": BOXES}] if cluster.run_as_user is not None else [],
        "resources": {"requests": sizes, "limits": sizes},
        "securityContext": context,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _volumes(token: str, claim: str, secret: bool) -> list[Object]:
    volumes: list[Object] = [
        {"name": "shared", "persistentVolumeClaim": {"claimName": claim}},
        {"name": "box", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]
    if secret:
        # Of the pod alone, whoever the image runs as.
        volumes.append({"name": "secrets", "secret": {"secretName": token, "defaultMode": 0o444}})
    return volumes
