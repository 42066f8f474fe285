"""The examples: their job files load, and agree with the scripts beside them."""

import ast
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.heard import Heard

from mlbroker.broker.app.service_replay import ServiceReplayRequest, replay_service
from mlbroker.broker.evidence.capacities import capacities_of
from mlbroker.broker.files.job_file import load_job
from mlbroker.broker.files.pipeline_file import load_pipeline
from mlbroker.broker.measure.capacity import CapacityOf, sample_bodies

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/job.yaml"))
STUDIES = ["tune"]
JOBS = [name for name in NAMES if name not in STUDIES]
PIPELINES = sorted(EXAMPLES.glob("*/pipeline.yaml"))
SERVICE = EXAMPLES / "service" / "service.yaml"


def test_there_is_a_job_file_or_a_pipeline_in_every_example() -> None:
    folders = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
    assert folders == sorted([*NAMES, "service", *(path.parent.name for path in PIPELINES)])
    assert {"digits", "lm", "sentiment"} <= set(NAMES)
    assert PIPELINES


def test_the_service_is_measured_and_its_surge_played() -> None:
    job = load_job(SERVICE).job
    assert job.service is not None
    assert job.service.request is not None
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    short = replace(
        job,
        profile=replace(job.profile, max_time_s=8.0),
        envs={"PORT": str(port)},
        service=job.service._replace(port=port),
    )
    bodies = sample_bodies(job.service.request, SERVICE.parent)

    (found,) = capacities_of(job, [CapacityOf(short, bodies, lambda _: None).here()]).values()

    assert found.rps > 20
    request = ServiceReplayRequest(
        SERVICE.with_name("requests.csv"), SERVICE, None, 0.05, None, 300.0, None, ()
    )
    summary = replay_service(request, Heard())["summary"]
    assert summary["auto"]["overspend_usd"] == 0
    assert summary["none"]["overspend_usd"] > 0


def test_the_service_labels_texts_that_it_has_not_seen() -> None:
    asked = (SERVICE.parent / "samples.jsonl").read_text()
    code = (
        "import json, sys; from serve import MODEL, Model\n"
        "print(*(Model(MODEL).label(json.loads(line)['text'])[0] for line in sys.stdin))"
    )
    labels = subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=SERVICE.parent, input=asked, capture_output=True,
        text=True, check=True,
    ).stdout  # fmt: skip
    assert labels.split() == ["complaint", "praise", "question", "complaint"]


def test_the_service_s_trace_is_what_its_script_makes() -> None:
    made = subprocess.run(
        [sys.executable, SERVICE.with_name("make_requests.py")], capture_output=True, check=True
    )
    assert made.stdout == SERVICE.with_name("requests.csv").read_bytes()


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.parent.name)
def test_a_pipeline_says_all_that_planning_needs(path: Path) -> None:
    found = load_pipeline(path, needs_folder=True)
    assert found is not None
    assert found.header.deadline
    assert found.header.budget_usd
    for stage in found.stages:
        assert stage.job.workdir == str(path.parent)
        assert stage.job.ignored == ()
        assert stage.job.work


@pytest.mark.parametrize("name", JOBS)
def test_job_file_loads_and_says_all_that_planning_and_running_need(name: str) -> None:
    job = load_job(EXAMPLES / name / "job.yaml").job
    assert job.name == name
    assert job.workdir == str(EXAMPLES / name)
    assert job.ignored == ()
    assert job.work
    assert job.deadline
    assert job.budget_usd


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_says_all_that_its_trials_need(name: str) -> None:
    job = load_job(EXAMPLES / name / "job.yaml").job
    assert job.study is not None
    assert job.workdir == str(EXAMPLES / name)
    assert job.ignored == ()
    assert job.budget_usd
    assert job.checkpoint
    script = (EXAMPLES / name / "train.py").read_text()
    assert all(f'"{variable}"' in script for variable in job.study.space)


@pytest.mark.parametrize("name", NAMES)
def test_setup_is_executable_and_run_finds_its_script(name: str) -> None:
    job = load_job(EXAMPLES / name / "job.yaml").job
    assert os.access(EXAMPLES / name / (job.setup or "").split()[0], os.X_OK)
    assert (EXAMPLES / name / job.command.split()[-1]).is_file()


@pytest.mark.parametrize("name", JOBS)
def test_the_work_is_as_long_as_the_script_makes_it(name: str) -> None:
    """`work` counts the epochs or steps of `envs`, whose defaults in the script are the same."""
    job = load_job(EXAMPLES / name / "job.yaml").job
    script = (EXAMPLES / name / "train.py").read_text()
    assert job.work
    for variable, amount in (("EPOCHS", job.work.epochs), ("STEPS", job.work.steps)):
        found = re.search(rf'environ\.get\("{variable}", "(\d+)"\)', script)
        if found:
            assert job.envs[variable] == found[1] == str(amount)
            return
    pytest.fail(f"{name}/train.py takes neither EPOCHS nor STEPS")


def test_progress_of_the_sentiment_job_reads_the_line_its_script_prints() -> None:
    job = load_job(EXAMPLES / "sentiment" / "job.yaml").job
    printed = next(
        node.args[0]
        for node in ast.walk(ast.parse((EXAMPLES / "sentiment" / "train.py").read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node).startswith("print(f'step")
    )
    assert isinstance(printed, ast.JoinedStr)
    line = "".join(
        str(part.value) if isinstance(part, ast.Constant) else "12" for part in printed.values
    )
    found = re.search(job.progress or "", line)
    assert found
    assert found["step"] == "12"
