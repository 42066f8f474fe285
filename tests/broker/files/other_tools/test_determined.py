"""Determined's configurations as job files."""

from pathlib import Path

import pytest

from mlbroker.broker.app.carry import carry_over
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_file import parse_jobs
from mlbroker.profiles.job import Job, Work

CONFIG = """\
name: cifar
data: {url: "https://example.com/cifar"}
hyperparameters:
  learning_rate: 1e-4
  global_batch_size: {type: const, val: 512}
environment:
  image: determinedai/pytorch:1
  environment_variables:
    cpu: [A=cpu]
    cuda: [A=cuda, B]
resources: {slots_per_trial: 16, resource_pool: big}
records_per_epoch: 50000
searcher:
  name: random
  max_trials: 20
  metric: loss
  max_length: {epochs: 32}
entrypoint: python3 -m determined.launch.torch_distributed python3 train.py
max_restarts: 2
"""


def carried(text: str, folder: Path, gpu: str | None = None) -> tuple[Job, list[str]]:
    path = folder / "const.yaml"
    path.write_text(text)
    over = carry_over(path, folder, gpu)
    assert over is not None
    (file,) = parse_jobs(over.text, "job.yaml", folder)
    return file.job, [note.removeprefix(f"{path}:") for note in over.notes]


def test_a_configuration_is_a_job_and_nothing_is_lost_in_silence(tmp_path: Path) -> None:
    job, notes = carried(CONFIG, tmp_path, gpu="a100")
    assert (job.name, job.num_nodes, job.workdir) == ("cifar", 2, str(tmp_path))
    assert job.command == "python3 -m determined.launch.torch_distributed python3 train.py"
    (option,) = job.resources
    assert (option.requirements.gpu_model, option.requirements.gpu_count) == ("A100-40GB", 8)
    assert job.work == Work(32 * 97, 32, 97)
    assert (dict(job.envs), job.secrets) == ({"A": "cuda"}, ("B",))
    assert {tuple(note.split(": ")[:2]) for note in notes} == {
        ("2", "data"), ("3", "hyperparameters"), ("7", "environment.image"),
        ("9", "environment.environment_variables.cpu"), ("11", "resources.resource_pool"),
        ("11", "16 slots are 2 machines of 8 GPUs"), ("14", "searcher"),
        ("16", "searcher.metric"), ("17", "max_length"), ("18", "determined.launch"),
        ("19", "max_restarts"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rest", "work"),
    [
        ("searcher: {name: single, max_length: {batches: 900}}", Work(900)),
        ("searcher: {name: single, max_length: 900}", Work(900)),
        (
            "hyperparameters: {global_batch_size: 10}\nsearcher: {max_length: {records: 95}}",
            Work(9),
        ),
        ("searcher: {name: single, max_length: {records: 900}}", None),
        ("searcher: {name: single, max_length: {epochs: 900}}", None),
        ("searcher: {name: single}", None),
        ("", None),
    ],
)
def test_lengths_that_can_be_told_in_steps_are_work(
    rest: str, work: Work | None, tmp_path: Path
) -> None:
    assert carried(f"entrypoint: [python3, 'a b.py']\n{rest}\n", tmp_path)[0].work == work


def test_slots_are_gpus(tmp_path: Path) -> None:
    (one,) = carried("entrypoint: ./a.sh\n", tmp_path)[0].resources
    assert (one.requirements.wants_gpu, one.requirements.gpu_count) == (True, 1)
    none = "entrypoint: ./a.sh\nresources: {slots_per_trial: 0}\n"
    assert not carried(none, tmp_path)[0].may_use_gpu
    job, _ = carried("entrypoint: ./a.sh\nresources: {slots_per_trial: 12}\n", tmp_path)
    assert (job.num_nodes, job.resources[0].requirements.gpu_count) == (3, 4)
    job, notes = carried("entrypoint: model_def:Trial\n", tmp_path)
    assert job.command == ""
    assert any("only Determined's harness runs: write `run`" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("entrypoint: ''\n", ":1: entrypoint: is missing"),
        ("searcher: {name: single}\n", ":1: entrypoint: is missing"),
        ("entrypoint: x\nresources: {slots_per_trial: many}\n", ":2: .*'many' is not a whole"),
        ("entrypoint: x\nsearcher: {max_length: {batches: 1e3}}\n", ":2: .*'1e3' is not a whole"),
        ("entrypoint: x\n---\nentrypoint: y\n", ":3: holds several experiments"),
        ("entrypoint: &a x\n", ":1: anchors"),
    ],
)
def test_bad_configurations_are_refused_with_their_line(
    text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        carried(text, tmp_path)
    assert refused.match(said)
