"""`nodes:` of a job file: which numbers of machines there are to choose, and what is refused."""

import pytest

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_file import parse_jobs
from mlbroker.profiles.job import Job

BATCH = "  batch: {size: 128, max: 1024, micro: 32, env: {total: BATCH, micro: MICRO}}\n"


def job_of(broker: str, top: str = "") -> Job:
    (file,) = parse_jobs(f"run: x\n{top}broker:\n{broker}", "job.yaml", None)
    return file.job


def test_the_numbers_and_how_many_there_are_unless_one_is_chosen() -> None:
    job = job_of("  nodes: 2..4\n")
    assert (job.node_counts, job.num_nodes) == ((2, 3, 4), 2)
    job = job_of("  nodes: 1..4\n", "num_nodes: 3\n")
    assert (job.node_counts, job.num_nodes) == ((1, 2, 3, 4), 3)
    assert job_of("  budget: 1\n").node_counts == ()


def test_only_those_share_a_batch_that_divide_it() -> None:
    assert job_of(f"  nodes: 1..8\n{BATCH}").node_counts == (1, 2, 4, 8)


def test_on_another_number_the_job_is_told_so() -> None:
    job = job_of(f"  nodes: 1..8\n{BATCH}").on_nodes(8)
    assert job.num_nodes == 8
    told = {name: job.envs[name] for name in ("MLBROKER_NUM_NODES", "BATCH", "MICRO")}
    assert told == {"MLBROKER_NUM_NODES": "8", "BATCH": "128", "MICRO": "16"}
    plain = job_of("  nodes: 1..8\n", "envs: {A: b}\n").on_nodes(8)
    assert plain.envs == {"A": "b"}
    assert job.fingerprint() != job.on_nodes(4).fingerprint()


@pytest.mark.parametrize(
    ("broker", "top", "what"),
    [
        ("  nodes: 4\n", "", "is no range of numbers of machines"),
        ("  nodes: 4..1\n", "", "is no range between 1 and 10000"),
        ("  nodes: 0..2\n", "", "is no range between 1 and 10000"),
        ("  nodes: 1..17\n", "", "are more than 16 numbers"),
        ("  nodes: -1..2\n", "", "is no range of numbers of machines"),
        ("  nodes: 2..4\n", "num_nodes: 8\n", "`num_nodes` is 8, which is not among them"),
        (f"  nodes: 3..3\n{BATCH}", "", "none of them divides the batch, 128 samples"),
        ("  nodes: 1..2\n", "service: {readiness_probe: /, replicas: 2}\n", "has replicas"),
        ("  nodes: 1..2\n  tune: {metric: m, goal: minimize, resource: {max: 9},"
         " space: {a: {values: [1, 2]}}}\n", "", "for a study"),
    ],
)  # fmt: skip
def test_what_is_no_choice(broker: str, top: str, what: str) -> None:
    with pytest.raises(InputError) as refused:
        job_of(broker, top)
    assert what in str(refused.value)
    assert "nodes" in str(refused.value)
    assert str(refused.value.where).startswith("job.yaml:")
    assert refused.value.hint


def test_a_stage_of_a_pipeline_has_its_own_number() -> None:
    text = "name: a\nrun: x\nbroker: {nodes: 1..2}\n---\nname: b\nrun: x\nbroker: {needs: [a]}\n"
    with pytest.raises(InputError, match="not chosen for a stage of a pipeline"):
        parse_jobs(text, "job.yaml", None)
