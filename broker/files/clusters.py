"""The `kubernetes:` of a node of the nodes file: one kind of job place in a cluster of one's own.

nodes:
  - name: lab-l4
    kubernetes:
      context: lab                # absent: the kubeconfig's current one; in a pod, its own
      namespace: ml
      image: pytorch/pytorch:2.4.0-cuda12.4-cudnn9-runtime
      volume: {claim: mlbroker, mounted_at: /mnt/lab/mlbroker}
    hardware: {vcpus: 8, memory_gib: 32, gpu: L4, gpu_count: 1}
    price_per_hour_usd: 0.35
"""

from dataclasses import dataclass
from pathlib import Path

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.values import matching, parse_count, parse_duration_s
from mlbroker.broker.files.yaml_fields import Fields

CLUSTER_KEYS = (
    "kubeconfig",
    "context",
    "namespace",
    "image",
    "volume",
    "queue",
    "gpu_resource",
    "node_selector",
    "run_as_user",
    "service_account",
    "priority_class",
    "max_wait",
)
_VOLUME_KEYS = ("claim", "mounted_at", "sub_path")
_LONGEST_WAIT_S = 3600.0
_EXAMPLE = "volume: {claim: mlbroker, mounted_at: /mnt/mlbroker}"
# Names of objects, of resources (k8s.io/docs/concepts/overview/working-with-objects/names, and
# .../configuration/manage-resources-containers#extended-resources), and of labels.
_name = matching(
    r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", "a name of Kubernetes", "a-z, 0-9, dash and dot"
)
_image = matching(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,511}", "the name of an image")
_context = matching(r"[^\x00-\x1f\x7f]{1,255}", "a context")
_resource = matching(r"[a-z0-9.-]{1,253}/[A-Za-z0-9._-]{1,63}", "a resource", "nvidia.com/gpu")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_key = matching(rf"(?:[a-z0-9.-]{{1,253}}/)?{_LABEL}", "a label")
_value = matching(rf"(?:{_LABEL})?", "the value of a label")
_sub_path = matching(r"(?!/)(?!(?:.*/)?\.\.(?:/|$))[^\x00-\x1f\x7f$]{1,255}", "a path in a volume")


@dataclass(frozen=True, slots=True)
class Cluster:
    """How jobs come into a cluster.

    `folder` is where the claim's volume, or its `sub_path`, is mounted on this machine. None of
    `kubeconfig`, `context` and `namespace`: as kubectl would take them. A job waits `max_wait_s`
    for a place. `queue` is one of Kueue's.
    """

    image: str
    claim: str
    folder: str
    sub_path: str | None = None
    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    queue: str | None = None
    gpu_resource: str = "nvidia.com/gpu"
    node_selector: tuple[tuple[str, str], ...] = ()
    run_as_user: int | None = None
    service_account: str | None = None
    priority_class: str | None = None
    max_wait_s: float = _LONGEST_WAIT_S


def read_cluster(fields: Fields, nodes_path: Path) -> Cluster:
    """The mapping under `kubernetes:`. Raises InputError with file, line and key."""
    fields.refuse_unknown(CLUSTER_KEYS)
    volume = fields.section("volume")
    if volume is None:
        fields.fail("volume", "is missing: job and results travel through it", _EXAMPLE)
    volume.refuse_unknown(_VOLUME_KEYS)
    selector = fields.section("node_selector")
    labels = [] if selector is None else sorted(selector)

    def path(text: str) -> str:
        return str((nodes_path.absolute().parent / Path(text).expanduser()).absolute())

    for label in labels:
        selector.parsed(label, label, _key)  # type: ignore[union-attr]
    return Cluster(
        image=fields.required("image", _image, "image: python:3.12-slim"),
        claim=volume.required("claim", _name, _EXAMPLE),
        folder=volume.required("mounted_at", path, _EXAMPLE),
        sub_path=volume.value("sub_path", _sub_path),
        kubeconfig=fields.value("kubeconfig", path),
        context=fields.value("context", _context),
        namespace=fields.value("namespace", _name),
        queue=fields.value("queue", _name),
        gpu_resource=fields.value("gpu_resource", _resource) or "nvidia.com/gpu",
        node_selector=tuple(
            (label, selector.required(label, _value))  # type: ignore[union-attr]
            for label in labels
        ),
        run_as_user=fields.value("run_as_user", _user),
        service_account=fields.value("service_account", _name),
        priority_class=fields.value("priority_class", _name),
        max_wait_s=fields.value("max_wait", parse_duration_s) or _LONGEST_WAIT_S,
    )


def _user(text: str) -> int:
    if text == "0":
        raise InputError("is root, as which images run anyway", hint="leave it out")
    return parse_count(text, 2**31 - 1)
