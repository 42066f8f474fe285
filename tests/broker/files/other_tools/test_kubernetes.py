"""Kubernetes Jobs as job files."""

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.broker.app.carry import carry_over
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_file import parse_jobs
from mlbroker.broker.files.other_tools.read_kubernetes import as_shell, parse_quantity
from mlbroker.pricing.book import Amount
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import Deadline, Job

FILE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: cfg}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: train
  labels: {app: x}
spec:
  parallelism: 2
  completions: 6
  completionMode: Indexed
  backoffLimit: 4
  activeDeadlineSeconds: 86400
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: sidecar
        image: busybox
      - name: trainer
        image: trainer:latest
        command: ["torchrun", "--node_rank=$(JOB_COMPLETION_INDEX)"]
        args: ["train.py", "--lr", "$(LR)", "a b", "$$(date)", "$(UNKNOWN)"]
        env:
        - {name: LR, value: "1e-3"}
        - {name: OUT, value: "runs/$(LR)"}
        - name: TOKEN
          valueFrom: {secretKeyRef: {name: hf, key: token}}
        - name: POD
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        resources:
          requests: {cpu: 3500m, memory: 32Gi}
          limits: {nvidia.com/gpu: 4, memory: 64Gi, ephemeral-storage: 200Gi}
        volumeMounts: [{name: d, mountPath: /data}]
      nodeSelector:
        cloud.google.com/gke-spot: "true"
        kubernetes.io/os: linux
        team: ml
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
            - matchExpressions:
              - {key: nvidia.com/gpu.product, operator: In, values: [NVIDIA-A100-SXM4-80GB]}
              - {key: topology.kubernetes.io/region, operator: In, values: [us-east4, us-west1]}
              - {key: gen, operator: Exists}
        podAffinity: {}
"""


def carried(text: str, folder: Path, gpu: str | None = None) -> tuple[Job, list[str]]:
    path = folder / "x.yaml"
    path.write_text(text)
    over = carry_over(path, folder, gpu)
    assert over is not None
    (file,) = parse_jobs(over.text, "job.yaml", folder)
    return file.job, [note.removeprefix(f"{path}:") for note in over.notes]


def job_of(
    folder: Path, gpu: str | None = None, selector: str = "{}", container: str = "", spec: str = ""
) -> Job:
    text = (
        f"apiVersion: batch/v1\nkind: Job\nspec:\n  {spec}\n  template:\n    spec:\n"
        f"      nodeSelector: {selector}\n"
        f"      containers: [{{name: a, command: [x], {container}}}]\n"
    )
    return carried(text, folder, gpu)[0]


def test_a_job_is_a_job_and_nothing_is_lost_in_silence(tmp_path: Path) -> None:
    job, notes = carried(FILE, tmp_path)
    assert (job.name, job.num_nodes, job.workdir) == ("train", 2, None)
    assert job.command == (
        'export JOB_COMPLETION_INDEX="${MLBROKER_NODE_RANK:-0}"\n'
        "torchrun --node_rank=\"${JOB_COMPLETION_INDEX}\" train.py --lr \"${LR}\" 'a b' '$(date)'"
        " '$(UNKNOWN)'"
    )
    assert dict(job.envs) == {"LR": "1e-3", "OUT": "runs/1e-3"}
    assert set(job.secrets) == {"TOKEN", "POD"}
    assert job.deadline == Deadline(duration_s=86400)
    assert [option.region for option in job.resources] == ["us-east4", "us-west1"]
    option = job.resources[0]
    assert (option.requirements.gpu_model, option.requirements.gpu_count) == ("A100-80GB", 4)
    assert (option.requirements.vcpus, option.requirements.memory_gib) == (Amount(3.5), Amount(32))
    assert (option.market, option.disk_gb) == (Market.SPOT, 200)
    named = {tuple(note.split(": ")[:2]) for note in notes}
    pod = "spec.template.spec"
    assert named == {
        ("1", "ConfigMap"), ("9", "metadata.labels"), ("11", "spec.parallelism"),
        ("12", "spec.completions"), ("14", "spec.backoffLimit"),
        ("15", "spec.activeDeadlineSeconds is the deadline"), ("18", f"{pod}.restartPolicy"),
        ("20", "another container"), ("23", f"{pod}.containers.image"), ("29", "env TOKEN"),
        ("31", "env POD"), ("35", "limits.memory"), ("36", f"{pod}.containers.volumeMounts"),
        ("40", "team"), ("48", "gen Exists"), ("49", f"{pod}.affinity.podAffinity"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("label", "model"),
    [
        ("cloud.google.com/gke-accelerator: nvidia-l4", "L4"),
        ("k8s.amazonaws.com/accelerator: nvidia-tesla-t4", "T4"),
        ("karpenter.k8s.aws/instance-gpu-name: l40s", "L40S"),
        ("eks.amazonaws.com/instance-gpu-name: h100", "H100"),
        ("nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3", "H100"),
        ("nvidia.com/gpu.product: NVIDIA-GeForce-RTX-4090", "RTX4090"),
        ("accelerator: nvidia-tesla-p100", "P100"),
    ],
)
def test_labels_name_the_model(label: str, model: str, tmp_path: Path) -> None:
    container = "resources: {limits: {nvidia.com/gpu: 2}}"
    job = job_of(tmp_path, selector=f"{{{label}}}", container=container)
    assert job.resources[0].requirements.gpu_model == model
    assert job_of(tmp_path, "L4", container=container).resources[0].requirements.gpu_model == "L4"


def test_labels_of_places_and_markets(tmp_path: Path) -> None:
    selector = (
        "{node.kubernetes.io/instance-type: m7g.large, karpenter.sh/capacity-type: on-demand,"
        " topology.kubernetes.io/zone: us-east-1a}"
    )
    (option,) = job_of(tmp_path, selector=selector).resources
    assert (option.instance_type, option.market) == ("m7g.large", Market.ON_DEMAND)
    assert (option.region, option.zone) == ("us-east-1", "us-east-1a")
    # The type tells what its GPUs are.
    selector = "{node.kubernetes.io/instance-type: g6.xlarge}"
    gpu = "resources: {limits: {nvidia.com/gpu: 1}}"
    assert not job_of(tmp_path, selector=selector, container=gpu).may_use_gpu


def test_a_shells_script_is_the_command_itself(tmp_path: Path) -> None:
    script = "cd /app && echo $$(date) $(A) $(B) $HOME\npython train.py"
    command = json.dumps(["/bin/bash", "-ec", script])
    pod = f"{{containers: [{{command: {command}, env: [{{name: A, value: '1'}}]}}]}}"
    text = f"apiVersion: batch/v1\nkind: Job\nspec: {{template: {{spec: {pod}}}}}\n"
    assert carried(text, tmp_path)[0].command == (
        "set -e\ncd /app && echo $(date) ${A} $(B) $HOME\npython train.py"
    )


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12).filter(
    lambda word: "$(" not in word and "$$" not in word
)


@given(st.lists(words, min_size=1, max_size=4))
def test_any_words_reach_the_program_as_they_are(words: list[str]) -> None:
    command = as_shell(["printf", "%s\\0", *words], [])
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == words


@pytest.mark.parametrize(
    ("text", "value"),
    [("4", 4), ("500m", 0.5), ("16Gi", 2**34), ("64G", 64e9), ("1e3", 1000), ("512Mi", 2**29),
     ("2k", 2000), ("1Ki", 1024), ("1.5", 1.5), ("2E", 2e18)],
)  # fmt: skip
def test_quantities(text: str, value: float) -> None:
    assert parse_quantity(text) == pytest.approx(value)


def test_a_file_as_json_and_an_image_with_a_command_of_its_own(tmp_path: Path) -> None:
    container = {"name": "a", "image": "x", "resources": {"requests": {"cpu": "2"}}}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "train-"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    carried_job, notes = carried(json.dumps(job, indent=2), tmp_path)
    assert (carried_job.name, carried_job.command) == ("train", "")
    assert any("the image's own command: not carried over" in note for note in notes)


HEAD = "apiVersion: batch/v1\nkind: Job\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("apiVersion: apps/v1\nkind: Deployment\n", ":1: holds no Job of batch/v1, but Deploym"),
        (f"{HEAD}---\n{HEAD}", ":4: holds 2 Jobs \\(lines 1, 4\\)"),
        (HEAD, ":1: spec: is missing"),
        (f"{HEAD}spec:\n  suspend: true\n", ":4: spec.template: is missing"),
        (f"{HEAD}spec: {{template: {{spec: {{}}}}}}\n", "containers: is missing"),
        (f"{HEAD}spec: {{activeDeadlineSeconds: 1h}}\n", "template: is missing"),
        (f"{HEAD}spec:\n  parallelism: -1\n", ":4: spec.parallelism: '-1' is not a whole number"),
        (f"{HEAD}spec: [\n", "not valid YAML"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_with_its_line(
    text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        carried(text, tmp_path)
    assert refused.match(said)


@pytest.mark.parametrize(
    ("container", "said"),
    [
        ("resources: {limits: {cpu: lots}}", "cpu: 'lots' is no quantity"),
        ("env: [{name: a-b, value: x}]", "'a-b' is not the name"),
        ("env: {a: b}", "env: must be a list"),
    ],
)
def test_so_is_what_a_container_says(container: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        job_of(tmp_path, container=container)
