"""The GitHub Action, the GitLab template and the pre-commit hook, run as their systems run them."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.forges import TOKEN, FakeForge, running
from tests.support.indexed import indexed
from tests.support.mlbroker import PATIENCE_S
from tests.support.repositories import ENVIRONMENT, Repository, job_text
from tests.support.runner import Runner

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

# Stands for `python3`: `-m venv DIR` makes a folder whose pip notes what it was asked to install,
# and whose mlbroker is the one under test. Installing for real needs a network.
PYTHON = f"""#!/bin/bash
case "$2" in
  venv)
    mkdir -p "$3/bin"
    ln -s {BIN}/mlbroker "$3/bin/mlbroker"
    ln -s "$0" "$3/bin/python" ;;
  pip) echo "${{@: -1}}" >> "$INSTALLED" ;;
  *) exit 9 ;;
esac
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return indexed(tmp_path_factory.mktemp("home"))


@pytest.fixture
def environment(tmp_path: Path, home: Path) -> dict[str, str]:
    """A clean environment whose Python installs nothing."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("python3", "python"):
        (tools / name).write_text(PYTHON)
        (tools / name).chmod(0o755)
    return {
        **{key: ENVIRONMENT[key] for key in ENVIRONMENT if key.startswith("GIT_CONFIG")},
        "HOME": str(tmp_path),
        "PATH": f"{tools}:{os.environ['PATH']}",
        "MLBROKER_HOME": str(home),
        "INSTALLED": str(tmp_path / "installed"),
    }


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A pull request that makes a job dearer."""
    repository = Repository(tmp_path / "workspace with spaces")
    repository.commit({"jobs/a.yaml": job_text("a"), "jobs/b.yaml": job_text("b")})
    repository.branch()
    repository.commit({"jobs/a.yaml": job_text("a", 60_000)})
    return repository


def runner(
    repository: Repository, tmp_path: Path, environment: dict[str, str], forge: FakeForge
) -> Runner:
    temp = tmp_path / "runner temp"
    temp.mkdir()
    return Runner(
        ROOT / "action.yml",
        temp,
        repository.root,
        {
            **environment,
            **{k: v for k, v in forge.environment().items() if k != "GITHUB_TOKEN"},
            "GITHUB_EVENT_NAME": "pull_request",
        },
        {
            "github.event.pull_request.base.sha": repository.git("rev-parse", "main").strip(),
            "github.token": TOKEN,
        },
    )


def test_the_action_comments_and_summarises(
    repository: Repository, tmp_path: Path, environment: dict[str, str]
) -> None:
    with running(FakeForge("github")) as forge:
        action = runner(repository, tmp_path, environment, forge)
        install, price = action.run({"paths": "jobs\n"})
    assert install.returncode == 0, install.stderr
    assert (tmp_path / "installed").read_text().strip() == str(ROOT)
    assert price.returncode == 0, price.stderr
    assert "jobs/a.yaml" in price.stdout
    assert len(forge.notes) == 1
    assert "### Cost of this change" in action.summary
    assert action.outputs["exit-code"] == "0"
    document = json.loads(Path(action.outputs["json"]).read_text())
    assert [job["status"] for job in document["jobs"]] == ["changed", "unchanged"]
    assert TOKEN not in price.stdout + price.stderr + action.summary


def test_the_action_fails_where_a_limit_is_crossed(
    repository: Repository, tmp_path: Path, environment: dict[str, str]
) -> None:
    with running(FakeForge("github")) as forge:
        action = runner(repository, tmp_path, environment, forge)
        _, price = action.run({"max-increase": "10%", "behavior": "new", "tag": "gate"})
    assert price.returncode == 5
    assert action.outputs["exit-code"] == "5"
    assert "max-increase" in action.summary
    assert forge.notes[0].body.startswith("<!-- mlbroker check: gate -->")


def test_the_action_on_a_push_needs_no_pull_request(
    repository: Repository, tmp_path: Path, environment: dict[str, str]
) -> None:
    with running(FakeForge("github")) as forge:
        action = runner(repository, tmp_path, environment, forge)
        action.environment = {**action.environment, "GITHUB_EVENT_NAME": "push"}
        action.contexts = {"github.event.before": "0" * 40, "github.token": TOKEN}
        _, price = action.run({"max-cost": "100"})
    assert price.returncode == 0, price.stderr
    assert forge.calls == []
    assert "2 jobs" in price.stdout


def test_the_action_in_a_merge_queue_looks_at_what_the_group_changes(
    repository: Repository, tmp_path: Path, environment: dict[str, str]
) -> None:
    with running(FakeForge("github")) as forge:
        action = runner(repository, tmp_path, environment, forge)
        base = action.contexts["github.event.pull_request.base.sha"]
        action.environment = {**action.environment, "GITHUB_EVENT_NAME": "merge_group"}
        action.contexts = {"github.event.merge_group.base_sha": base, "github.token": TOKEN}
        _, price = action.run({"max-cost": "100"})
    assert price.returncode == 0, price.stderr
    assert forge.calls == []
    assert "1 changed, 1 unchanged" in price.stdout


def test_hostile_inputs_stay_inputs(
    repository: Repository, tmp_path: Path, environment: dict[str, str]
) -> None:
    canary = tmp_path / "canary"
    attack = f'"; touch {canary}; $(touch {canary}) `touch {canary}`'
    with running(FakeForge("github")) as forge:
        action = runner(repository, tmp_path, environment, forge)
        for name in ("paths", "base", "tag"):
            assert action.run({name: attack})[-1].returncode != 0
            for left in ("mlbroker/bin/mlbroker", "mlbroker/bin/python"):
                (action.temp / left).unlink()
    assert not canary.exists()


def test_no_expression_is_part_of_a_script() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"]


def template(inputs: dict[str, str]) -> dict[str, Any]:
    """The GitLab job with its inputs filled in, as GitLab does before it reads the YAML."""
    text = (ROOT / "templates" / "mlbroker-check.yml").read_text()
    header, job = text.split("\n---\n")
    spec = yaml.safe_load(header)["spec"]["inputs"]
    values = {n: given["default"] for n, given in spec.items() if "default" in given} | inputs
    filled = re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda found: values[found[1]], job)
    found: dict[str, Any] = yaml.safe_load(filled)["mlbroker-check"]
    return found


def test_the_gitlab_template(
    repository: Repository, tmp_path: Path, environment: dict[str, str]
) -> None:
    package = "git+https://forge.example/team/mlbroker@v0.1.0"
    job = template({"package": package, "paths": "jobs", "options": "--max-increase 10%"})
    assert job["variables"]["GIT_DEPTH"] == "0"
    script = "set -eo pipefail\n" + "\n".join(job["script"])
    with running(FakeForge("gitlab")) as forge:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=repository.root,
            env={
                **environment,
                **forge.environment(),
                "PATH": f"{environment['PATH']}:{BIN}",
                "CI_MERGE_REQUEST_DIFF_BASE_SHA": repository.git("rev-parse", "main").strip(),
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    assert done.returncode == 5, done.stderr
    assert (tmp_path / "installed").read_text().strip() == package
    assert len(forge.notes) == 1
    report = (repository.root / job["artifacts"]["reports"]["junit"]).read_text()
    assert "<failure" in report
    assert TOKEN not in done.stdout + done.stderr


def test_the_pre_commit_hook(repository: Repository, environment: dict[str, str]) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    repository.commit({"train.job.yaml": job_text("t"), "x/job.yml": job_text("x")})
    repository.write("train.job.yaml", job_text("t", 90_000))
    changed = repository.git("diff", "--name-only", "HEAD").split()
    files = [path for path in changed if re.search(hook["files"], path)]
    assert files == ["train.job.yaml"]
    assert re.search(hook["files"], "x/job.yml")
    assert not re.search(hook["files"], "x/nojob.yml")
    command, *options = shlex.split(hook["entry"])
    done = subprocess.run(
        [BIN / command, *options, *files],
        cwd=repository.root, env=environment, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "train.job.yaml" in done.stdout
