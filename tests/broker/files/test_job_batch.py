"""`batch:` and `adapt:` of a job file: what they say, what the job is told, what is refused."""

import pytest

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_file import parse_jobs
from mlbroker.profiles.batch import Adapt, Batch, LearningRate, LrRule
from mlbroker.profiles.job import Job

FULL = """\
run: python train.py
num_nodes: 2
envs: {EPOCHS: "3"}
broker:
  checkpoint: {path: ckpt/, every: 10m}
  batch:
    size: 128
    max: 1024
    micro: 24
    env: {total: BATCH, micro: MICRO, accumulation: ACC}
    lr: {env: LR, base: 3e-4, rule: adascale}
  adapt: move
"""
LEAST = "run: x\nbroker:\n  batch: {size: 128, max: 1024}\n"


def job_of(text: str) -> Job:
    (file,) = parse_jobs(text, "job.yaml", None)
    return file.job


def test_all_that_a_batch_says() -> None:
    job = job_of(FULL)
    rate = LearningRate("LR", 3e-4, LrRule.ADASCALE)
    assert job.batch == Batch(128, 1024, 24, "BATCH", "MICRO", "ACC", rate)
    assert job.adapt is Adapt.MOVE


def test_the_job_is_told_by_its_own_names_and_by_ours() -> None:
    # 64 samples a machine go in passes of at most 24: four of 16, as three would not be equal.
    assert job_of(FULL).envs == {
        "EPOCHS": "3",
        "MLBROKER_BATCH_SIZE": "128",
        "MLBROKER_MICRO_BATCH": "16",
        "MLBROKER_GRAD_ACCUM": "4",
        "MLBROKER_LR_SCALE": "1",
        "MLBROKER_NUM_NODES": "2",
        "BATCH": "128",
        "MICRO": "16",
        "ACC": "4",
        "LR": "0.0003",
    }


def test_without_names_only_ours_are_set_and_nothing_is_done() -> None:
    job = job_of(LEAST)
    assert job.batch == Batch(128, 1024)
    assert job.adapt is Adapt.ADVISE
    assert set(job.envs) == {
        f"MLBROKER_{name}"
        for name in ("BATCH_SIZE", "MICRO_BATCH", "GRAD_ACCUM", "LR_SCALE", "NUM_NODES")
    }


def test_a_job_without_the_section_is_told_nothing() -> None:
    assert job_of("run: x\nbroker: {}\n").envs == {}


@pytest.mark.parametrize(
    ("size", "nodes", "micro", "passes"),
    [(128, 1, None, 1), (128, 1, 32, 4), (100, 1, 32, 4), (97, 1, 32, 97), (96, 3, 64, 1)],
)
def test_passes_are_equal_and_as_few_as_fit(
    size: int, nodes: int, micro: int | None, passes: int
) -> None:
    assert Batch(size, size, micro).passes(size, nodes) == passes


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    max: 1024\n", "", "job.yaml:7: broker.batch.max: is missing"),
        ("max: 1024", "max: 64", "broker.batch.max: 64 is below the size, 128"),
        ("size: 128", "size: 127", "broker.batch.size: 127 is not divisible among 2 nodes"),
        ("size: 128", "size: 0", "broker.batch.size: '0' is not between 1 and"),
        ("size: 128", "size: -5", "broker.batch.size: '-5' is not a whole number"),
        ("    size: 128\n", "", "broker.batch.size: is missing"),
        ("micro: 24", "mirco: 24", "did you mean 'micro'?"),
        ("total: BATCH", "totl: BATCH", "did you mean 'total'?"),
        ("total: BATCH", "total: 1X", "'1X' is not the name of an environment variable"),
        ("total: BATCH", "total: MLBROKER_B", "are mlbroker's own"),
        ("total: BATCH", "total: EPOCHS", "broker.batch.env: EPOCHS is among the envs too"),
        ("env: LR", "env: EPOCHS", "broker.batch.lr: EPOCHS is among the envs too"),
        ("envs:", "secrets: {BATCH: null}\nenvs:", "BATCH is among the secrets too"),
        ("envs: {", "envs: {BATCH: null, ", "BATCH is among the secrets too"),
        ("micro: MICRO", "micro: BATCH", "broker.batch.env: BATCH is given two meanings"),
        ("env: LR", "env: ACC", "ACC is given two meanings"),
        ("total: BATCH, micro: MICRO, ", "", "micro and accumulation go together"),
        ("base: 3e-4", "base: 0", "broker.batch.lr.base: '0' is not a learning rate"),
        ("base: 3e-4", "base: 1e999", "'1e999' is not a learning rate"),
        ("base: 3e-4, ", "", "broker.batch.lr.base: is missing"),
        ("rule: adascale", "rule: adascal", "did you mean adascale?"),
        (", rule: adascale", "", "broker.batch.lr.rule: is missing"),
        ("adapt: move", "adapt: mov", "did you mean move?"),
        ("  checkpoint: {path: ckpt/, every: 10m}\n", "", "broker.adapt: another batch begins at"),
        (
            "    env: {total: BATCH, micro: MICRO, accumulation: ACC}\n",
            "",
            "broker.adapt: the job could not be told another batch",
        ),
    ],
)
def test_what_is_refused(old: str, new: str, said: str) -> None:
    assert FULL.count(old) >= 1
    with pytest.raises(InputError) as refused:
        job_of(FULL.replace(old, new, 1))
    assert said in f"{refused.value.where}: {refused.value.what} {refused.value.hint}"


def test_nothing_adapts_without_a_ceiling() -> None:
    with pytest.raises(InputError, match="how large the batch may be"):
        job_of("run: x\nbroker: {adapt: batch}")


def test_a_study_and_the_batch_do_not_share_a_variable() -> None:
    tune = "{metric: acc, goal: maximize, space: {B: [1, 9]}, resource: {max: 5}}"
    batch = "{size: 8, max: 8, env: {total: B}}"
    with pytest.raises(InputError, match="B: is among the envs too"):
        job_of(f"run: x\nbroker: {{tune: {tune}, batch: {batch}}}")
