"""dstack's tasks as job files."""

from pathlib import Path

import pytest

from mlbroker.broker.app.carry import carry_over
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_file import parse_jobs
from mlbroker.pricing.book import Amount
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import Deadline, Job

TASK = """\
type: task
name: train
nodes: 2
image: nvcr.io/nvidia/pytorch:25.01-py3
env:
  - HF_TOKEN
  - EPOCHS=3
commands:
  - pip install -r requirements.txt
  - python train.py --rank $DSTACK_NODE_RANK --of $DSTACK_GPUS_NUM --job $DSTACK_RUN_ID
files:
  - .
resources:
  cpu: x86:8..16
  memory: 64GB..
  gpu: {name: [A100, H100], memory: 80GB.., count: 1..2}
  disk: 200GB..
  shm_size: 16GB
backends: [aws, runpod]
regions: [us-east-1, us-west-2]
max_duration: 6h
max_price: 40
retry: true
"""


def carried(text: str, folder: Path, gpu: str | None = None) -> tuple[Job, list[str]]:
    path = folder / "x.dstack.yml"
    path.write_text(text)
    over = carry_over(path, folder, gpu)
    assert over is not None
    (file,) = parse_jobs(over.text, "job.yaml", folder)
    return file.job, [note.removeprefix(f"{path}:") for note in over.notes]


def test_a_task_is_a_job_and_nothing_is_lost_in_silence(tmp_path: Path) -> None:
    job, notes = carried(TASK, tmp_path)
    assert (job.name, job.num_nodes, job.workdir) == ("train", 2, str(tmp_path))
    assert job.command == (
        'export DSTACK_NODE_RANK="${MLBROKER_NODE_RANK:-0}"\nexport DSTACK_GPUS_NUM=2\n'
        "pip install -r requirements.txt &&\n"
        "python train.py --rank $DSTACK_NODE_RANK --of $DSTACK_GPUS_NUM --job $DSTACK_RUN_ID"
    )
    assert (dict(job.envs), job.secrets) == ({"EPOCHS": "3"}, ("HF_TOKEN",))
    assert job.deadline == Deadline(duration_s=6 * 3600)
    assert {
        (o.cloud, o.region, o.requirements.gpu_model, o.requirements.gpu_count)
        for o in job.resources
    } == {
        ("aws", region, model, 1)
        for region in ("us-east-1", "us-west-2")
        for model in ("A100-80GB", "H100")
    }
    option = job.resources[0]
    assert (option.requirements.vcpus, option.requirements.memory_gib) == (Amount(8), Amount(64))
    assert (option.market, option.disk_gb, str(option.max_price_per_hour_usd)) == (
        Market.ON_DEMAND, 200, "40",
    )  # fmt: skip
    named = [note.partition(": not carried")[0].partition(":")[::2] for note in notes]
    assert {(line, what.strip().partition(" ")[0].rstrip(":")) for line, what in named} == {
        ("1", "on"), ("4", "image"), ("8", "$DSTACK_RUN_ID"), ("14", "resources.cpu"),
        ("16", "resources.gpu"), ("18", "resources.shm_size"), ("19", "backends"),
        ("21", "max_duration"), ("23", "retry"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("gpu", "models", "count"),
    [
        ("A100", ["A100-40GB", "A100-80GB"], 1),
        ("A100:40GB:2", ["A100-40GB"], 2),
        ("V100:32GB..:4", ["V100-32GB"], 4),
        ("L4,T4:1", ["L4", "T4"], 1),
        ("nvidia:RTX4090", ["RTX4090"], 1),
        ("2", [None], 2),
        ("{count: {min: 2, max: 4}}", [None], 2),
    ],
)
def test_gpus(gpu: str, models: list[str | None], count: int, tmp_path: Path) -> None:
    task = f"type: task\ncommands: [x]\nresources: {{gpu: {gpu!r}}}\n".replace("'{", "{")
    options = carried(task.replace("}'", "}"), tmp_path)[0].resources
    assert [option.requirements.gpu_model for option in options] == models
    assert {option.requirements.gpu_count for option in options} == {count}


@pytest.mark.parametrize(
    ("cpu", "arch", "count"),
    [("arm:4", "arm64", Amount(4, at_least=False)), ("{arch: arm, count: 4..}", "arm64", Amount(4)),
     ("{count: 4..8}", "x86_64", Amount(4)), ("{min: 4}", "x86_64", Amount(4)),
     ("arm", "arm64", None)],
)  # fmt: skip
def test_processors(cpu: str, arch: str, count: Amount | None, tmp_path: Path) -> None:
    task = f"type: task\ncommands: [x]\nresources: {{cpu: {cpu}}}\n"
    if count is None:
        task = task.replace("cpu: arm", "cpu: {arch: arm}")
    (option,) = carried(task, tmp_path)[0].resources
    assert option.requirements.arch == arch
    assert option.requirements.vcpus == (count or Amount(2))


def test_a_gpu_by_its_memory_and_dstacks_own_sizes(tmp_path: Path) -> None:
    task = "type: task\ncommands: [x]\nresources: {gpu: '24GB..:2'}\nspot_policy: auto\n"
    (option,) = carried(task, tmp_path)[0].resources
    assert option.requirements.gpu_memory_gib == Amount(24)
    assert (option.requirements.vcpus, option.requirements.memory_gib) == (Amount(2), Amount(8))
    assert option.market is None
    assert carried(task, tmp_path, "L4")[0].resources[0].requirements.gpu_model == "L4"
    pinned = "type: task\ncommands: [x]\ninstance_types: [g6.xlarge]\nspot_policy: spot\n"
    (option,) = carried(pinned, tmp_path)[0].resources
    assert (option.instance_type, option.requirements.vcpus) == ("g6.xlarge", None)
    assert option.market is Market.SPOT


def test_what_it_takes_along_is_the_workdir(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    task = "type: task\ncommands: [x]\nrepos: [{local_path: code}]\nfiles: [a.txt:b.txt]\n"
    job, notes = carried(task.replace("files: [a.txt:b.txt]\n", ""), tmp_path)
    assert job.workdir == str(tmp_path / "code")
    job, notes = carried("type: task\ncommands: [x]\nrepos: ['https://github.com/a/b']\n", tmp_path)
    assert job.workdir is None
    assert any("repos: not carried over" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type: service\ncommands: [x]\n", ":1: type: 'service' ends only when it is stopped"),
        ("type: task\nnodes: two\ncommands: [x]\n", ":2: nodes: 'two' is not a whole number"),
        ("type: task\ncommands: {a: b}\n", ":2: commands: must be a single value, or a list"),
        ("type: task\ncommands: [x]\nmax_duration: soon\n", ":3: max_duration: 'soon' is no"),
        ("type: task\ncommands: [x]\nspot_policy: maybe\n", ":3: spot_policy: 'maybe' is none"),
        ("type: task\ncommands: [x]\nresources: {cpu: sparc:4}\n", ":3: .*'sparc' is no archi"),
        ("type: task\ncommands: [x]\nresources: {memory: big}\n", ":3: .*memory: 'big' is no"),
        ("type: task\ncommands: [x]\nenv: ['1A=2']\n", ":3: '1A' is not the name"),
        ("type: task\ncommands: [x]\n---\ntype: task\n", ":4: holds several tasks"),
        ("type: task\ncommands: [x\n", ":3: not valid YAML"),
        ("type: task\ncommands: ['\0']\n", ":2: control character U\\+0000"),
    ],
)
def test_what_dstack_would_refuse_is_refused_with_its_line(
    text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        carried(text, tmp_path)
    assert refused.match(said)
