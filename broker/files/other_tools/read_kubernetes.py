"""Kubernetes Jobs.

Keys: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/ and pod-v1/;
`$(NAME)` as third_party/forked/golang/expansion/expand.go (kubernetes/kubernetes) expands it.
"""

import math
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.other_tools.carrying import (
    NO_CONTAINER,
    NO_VOLUMES,
    Carrying,
    Keys,
    leave_the_rest,
    plain,
)
from mlbroker.broker.files.values import parse_count
from mlbroker.broker.files.yaml_strict import Node, parse, quoted

_WHY = {
    **dict.fromkeys(("image", "workingDir", "imagePullPolicy", "imagePullSecrets"), NO_CONTAINER),
    **dict.fromkeys(("volumes", "volumeMounts"), NO_VOLUMES),
    **dict.fromkeys(("backoffLimit", "restartPolicy"), "a job that fails is not repeated"),
    **dict.fromkeys(("namespace", "tolerations", "serviceAccountName"), "there is no cluster"),
    **dict.fromkeys(("labels", "annotations"), "runs have a name alone"),
    "initContainers": "put what they do into `setup`",
    "envFrom": "name its variables under `envs` or `secrets`",
    "ttlSecondsAfterFinished": "a machine ends with its job",
}
# NVIDIA's GPU feature discovery, GKE, EKS with its autoscaler, Karpenter, EKS Auto Mode, and what
# the documentation of Kubernetes names it in its example (tasks/manage-gpus/scheduling-gpus).
_GPU_LABELS = (
    "nvidia.com/gpu.product",
    "cloud.google.com/gke-accelerator",
    "k8s.amazonaws.com/accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "eks.amazonaws.com/instance-gpu-name",
    "accelerator",
)
# https://kubernetes.io/docs/reference/labels-annotations-taints/
_PLACES = {
    "node.kubernetes.io/instance-type": "instance_type",
    "beta.kubernetes.io/instance-type": "instance_type",
    "topology.kubernetes.io/region": "region",
    "failure-domain.beta.kubernetes.io/region": "region",
    "topology.kubernetes.io/zone": "zone",
    "failure-domain.beta.kubernetes.io/zone": "zone",
    "kubernetes.io/arch": "arch",
    "beta.kubernetes.io/arch": "arch",
}
_SPOT: dict[str, Mapping[str, bool]] = {
    "cloud.google.com/gke-spot": {"true": True},
    "cloud.google.com/gke-preemptible": {"true": True},
    "eks.amazonaws.com/capacityType": {"SPOT": True, "ON_DEMAND": False},
    "karpenter.sh/capacity-type": {"spot": True, "on-demand": False},
    "kubernetes.azure.com/scalesetpriority": {"spot": True, "regular": False},
}
_INDEX = "JOB_COMPLETION_INDEX"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_GPUS = ("nvidia.com/gpu", "amd.com/gpu")
_SHELLS = ("bash", "sh", "dash", "ash")
_MOST = 1000
Labels = dict[str, tuple[int, list[str]]]


def read(text: str, carrying: Carrying) -> None:
    """The one Job of the file; what stands beside it is named."""
    job = _only_job(parse(text, carrying.source), carrying)
    keys = Keys(job, "", carrying.source)
    keys.text("apiVersion")
    keys.text("kind")
    metadata = keys.section("metadata")
    if metadata is not None:
        name = metadata.text("name") or (metadata.text("generateName") or "").rstrip("-")
        if name:
            carrying.job_name(metadata.line(), name)
    spec = keys.section("spec") or keys.fail("spec", "is missing")
    _pods(spec, carrying)
    template = spec.section("template") or spec.fail("template", "is missing")
    pod = template.section("spec") or template.fail("spec", "is missing")
    _time(spec, pod, carrying)
    container = _container(pod, carrying)
    names = _environment(container, carrying)
    _command(container, names, carrying)
    labels = _labels(pod, carrying)
    _resources(container, labels, carrying)
    leave_the_rest(keys, carrying, _WHY)


def _only_job(documents: list[Node], carrying: Carrying) -> Node:
    jobs, kinds = [], []
    for document in documents:
        keys = Keys(document, "", carrying.source)
        kind, api = keys.text("kind") or "something", keys.text("apiVersion") or ""
        if kind == "Job" and api == "batch/v1":
            jobs.append(document)
        else:
            kinds.append(kind)
            carrying.leave(document.line, kind, "the Job alone is read")
    if not jobs:
        raise carrying.fail(
            1, f"holds no Job of batch/v1, but {', '.join(kinds)}", "a Job is what ends by itself"
        )
    if len(jobs) > 1:
        lines = ", ".join(str(job.line) for job in jobs[:5])
        raise carrying.fail(
            jobs[1].line, f"holds {len(jobs)} Jobs (lines {lines})", "one a file is carried over"
        )
    return jobs[0]


def _pods(spec: Keys, carrying: Carrying) -> None:
    pods = spec.value("parallelism", lambda text: parse_count(text, 10_000)) or 1
    wanted = spec.value("completions", lambda text: parse_count(text, 1_000_000))
    spec.text("completionMode")
    carrying.nodes = pods
    if pods > 1:
        line = spec.line("parallelism")
        carrying.say(line, f"spec.parallelism: {pods} machines, which run the command together")
    if wanted is not None and wanted > pods:
        why = "each machine runs the command once"
        carrying.leave(spec.line("completions"), f"spec.completions: {wanted}", why)


def _time(spec: Keys, pod: Keys, carrying: Carrying) -> None:
    for keys in (pod, spec):
        seconds = keys.value("activeDeadlineSeconds", lambda text: parse_count(text, 10**8))
        if seconds is not None:
            line, path = keys.line("activeDeadlineSeconds"), keys.name_of("activeDeadlineSeconds")
            carrying.deadline(line, path, seconds)


def _container(pod: Keys, carrying: Carrying) -> Keys:
    """The one with a GPU, else the first; others are named."""
    node = pod.node("containers")
    if node is None or not node.items:
        pod.fail("containers", "is missing", "name the container that runs the job")
    with_gpu = (item for item in node.items if any(_has(item, "resources", gpu) for gpu in _GPUS))
    chosen = next(with_gpu, node.items[0])
    for item in node.items:
        if item is not chosen:
            carrying.leave(item.line, "another container", "a job is one command")
    container = pod.item("containers", chosen)
    container.text("name")
    return container


def _has(container: Node, section: str, key: str) -> bool:
    _, resources = (container.fields or {}).get(section, (0, None))
    kinds = (resources.fields or {}).values() if resources is not None else ()
    return any(key in (kind.fields or {}) for _, kind in kinds)


def _environment(container: Keys, carrying: Carrying) -> list[str]:
    """The variables; the names of all, in their order."""
    known: dict[str, str | None] = {}
    for entry in container.items("env", _MOST):
        name, value = entry.text("name") or "", entry.text("value")
        line = entry.line("name")
        source = entry.section("valueFrom")
        if source is None:
            value = _expanded(value or "", known)
            carrying.variable(line, name, value)
        elif source.node("secretKeyRef") is not None:
            carrying.variable(line, name, secret=True)
            carrying.say(line, f"env {name}: a secret, read from your environment at launch")
        else:
            carrying.variable(line, name)
            kind = next(iter(source), "elsewhere")
            source.node(kind)
            carrying.leave(line, f"env {name}: {kind}", "its value is read from your environment")
        known[name] = value if source is None else None
    return list(known)


def _expanded(value: str, known: Mapping[str, str | None]) -> str:
    """`$(NAME)` of variables that stand before it."""

    def one(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else known.get(found[1]) or found[0]

    return re.sub(r"\$\$|\$\((\w+)\)", one, value)


def _command(container: Keys, names: Collection[str], carrying: Carrying) -> None:
    words = container.texts("command")
    if not words:
        container.node("args")
        what = "the image's own command"
        carrying.leave(container.line(), what, "nobody here knows it: write `run`")
        return
    words += container.texts("args")
    # Indexed Jobs have it among their variables.
    carrying.command = as_shell(words, {*names, _INDEX})
    if _INDEX not in names:
        carrying.stand_ins({_INDEX: '"${MLBROKER_NODE_RANK:-0}"'})


def as_shell(words: Sequence[str], names: Collection[str]) -> str:
    """The words of a command as a shell has them; `$(NAME)` is a variable where `names` has it."""

    def reference(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return f"${{{found[1]}}}" if found[1] in names else found[0]

    shell = PurePosixPath(words[0]).name in _SHELLS
    if shell and len(words) == 3 and re.fullmatch(r"-[eluxo]*c", words[1]):
        flags = words[1].strip("-").replace("c", "").replace("l", "")
        script = re.sub(r"\$\$|\$\((\w+)\)", reference, words[2])
        return f"set -{flags}\n{script}" if flags else script
    return " ".join(_quoted(word, names) for word in words)


def _quoted(word: str, names: Collection[str]) -> str:
    done, text = [], ""
    for piece in re.split(r"(\$\$|\$\(\w+\))", word):
        name = piece[2:-1]
        if piece.startswith("$(") and name in names:
            done += [shlex.quote(text)] * bool(text) + [f'"${{{name}}}"']
            text = ""
        else:
            text += "$" if piece == "$$" else piece
    if text or not done:
        done.append(shlex.quote(text))
    return "".join(done)


def _labels(pod: Keys, carrying: Carrying) -> Labels:
    """What is asked of the node: each label with its line and the values that will do."""
    found: Labels = {}
    selector = pod.section("nodeSelector")
    if selector is not None:
        found = {key: (selector.line(key), [selector.text(key) or ""]) for key in selector}
    for expression in _required(pod, carrying):
        key, operator = expression.text("key") or "", expression.text("operator")
        line = expression.line("key")
        if operator == "In":
            found[key] = (line, expression.texts("values"))
        else:
            expression.node("values")
            carrying.leave(line, f"{key} {operator}", "labels are of a cluster")
    return found


def _required(pod: Keys, carrying: Carrying) -> list[Keys]:
    """What node affinity asks for, where it has one way to be met."""
    affinity = pod.section("affinity")
    of_nodes = affinity.section("nodeAffinity") if affinity is not None else None
    required = of_nodes.section(_REQUIRED) if of_nodes is not None else None
    if required is None:
        return []
    terms = required.items("nodeSelectorTerms", _MOST)
    if len(terms) == 1:
        return terms[0].items("matchExpressions", _MOST)
    carrying.leave(required.line(), "nodeSelectorTerms", "there are several ways to meet them")
    return []


def _resources(container: Keys, labels: Labels, carrying: Carrying) -> None:
    """Sizes and GPUs of each machine, and where it may be."""
    resources = container.section("resources") or container.empty("resources")
    asked: dict[str, tuple[Keys, float]] = {}
    for kind in ("limits", "requests"):  # what is asked for, else the most that may be used
        section = resources.section(kind)
        for key in ("cpu", "memory", "ephemeral-storage", *_GPUS):
            if section is not None and section.node(key) is not None:
                if key in asked and section.text(key) != asked[key][0].text(key):
                    line = asked[key][0].line(key)
                    carrying.leave(line, f"limits.{key}", "the machine's own is the limit")
                asked[key] = (section, section.value(key, parse_quantity) or 0.0)
    fields = carrying.resources
    for key, field, unit in (("cpu", "cpus", 1), ("memory", "memory", 2**30)):
        if key in asked and asked[key][1]:
            fields[field] = f"{plain(asked[key][1] / unit)}+"
    if "ephemeral-storage" in asked:
        fields["disk_size"] = str(max(math.ceil(asked["ephemeral-storage"][1] / 2**30), 1))
    _places(labels, carrying)
    names = [name for key in _GPU_LABELS for name in labels.pop(key, (0, []))[1]]
    for key, (line, values) in labels.items():
        if key not in ("kubernetes.io/os", "beta.kubernetes.io/os"):
            carrying.leave(line, f"{key}: {', '.join(values)}", "labels are of a cluster")
    gpus = next((asked[key] for key in _GPUS if key in asked), None)
    if gpus is not None and gpus[1] >= 1:
        section, count = gpus
        if names or carrying.gpu or "instance_type" not in fields:
            line = next(section.line(key) for key in _GPUS if key in section)
            carrying.accelerators(line, "the GPU", names, int(count))
    elif names:
        carrying.leave(container.line(), f"the GPU {names[0]}", "the container asks for none")


def _places(labels: Labels, carrying: Carrying) -> None:
    """The labels that a machine for rent has, too."""
    fields = carrying.resources
    for label, field in _PLACES.items():
        line, values = labels.pop(label, (0, []))
        if len(values) == 1:
            fields[field] = values[0]
        elif values and "any_of" not in fields:
            fields["any_of"] = [{field: value} for value in values]
        elif values:
            carrying.leave(line, f"{label}: {', '.join(values)}", "one list of them is read")
    for label, markets in _SPOT.items():
        line, values = labels.pop(label, (0, []))
        known = {markets[value] for value in values if value in markets}
        if len(known) == 1:
            fields["use_spot"] = known.pop()
        elif values and not known:
            carrying.leave(line, f"{label}: {', '.join(values)}", "nobody here knows it")


def parse_quantity(text: str) -> float:
    """`500m`, `4`, `16Gi`, `64G` or `1e3`: bytes, or processors."""
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{0,9})?)(m|k|[MGTPE]i?|Ki|[eE]\+?\d{1,2}|)", text)
    if found is None:
        raise InputError(f"{quoted(text)} is no quantity", hint="write 4, 500m, 16Gi or 64G")
    suffix = found[2]
    if suffix[:1] in ("e", "E") and suffix[1:] not in ("", "i"):
        return float(found[1]) * math.pow(10, int(suffix[1:]))
    power = "kMGTPE".find(suffix[:1].replace("K", "k")) + 1 if suffix not in ("", "m") else 0
    factor = 1024.0 if suffix.endswith("i") else 1000.0
    return float(found[1]) * (0.001 if suffix == "m" else math.pow(factor, power))
