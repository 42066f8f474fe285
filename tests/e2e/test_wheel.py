"""What users install: the wheel built from the sdist is whole, small, and plans on its own."""

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tests.support.first_project import first_project
from tests.support.sshd import needs_openssh, running_sshd

ROOT = Path(__file__).parents[2]
FOLDERS = ("broker", "policies", "profiles", "pricing", "testing")
MEGABYTE = 2**20

JOB = """\
name: tiny
resources: {cpus: 4+, memory: 8+}
run: python train.py
broker:
  deadline: 12h
  work: {steps: 1000}
"""
MEASUREMENT = """\
job,config,cloud,instance_type,time_s,steps,price_per_hour_usd
tiny,m5.xlarge,aws,m5.xlarge,2,1,0.192
"""


def _run(*command: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYTEST"))
    }
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=clean | env, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `mlbroker` script of a new environment that holds the wheel.

    What it says it depends on, and nothing else, is linked from the tests' own environment, so
    that nothing is downloaded.
    """
    venv = tmp_path_factory.mktemp("clean") / "venv"
    _run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv.parent)
    python = venv / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    _run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=venv.parent)
    (site_packages,) = venv.glob("lib/python*/site-packages")
    for name in _needs("mlbroker"):
        for top in {file.parts[0] for file in distribution(name).files or ()} - {
            "..",
            "__pycache__",
        }:
            (site_packages / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    return venv / "bin" / "mlbroker"


def _needs(name: str) -> set[str]:
    """The packages that a plain `pip install` of this one brings."""
    wanted = [Requirement(line) for line in distribution(name).requires or ()]
    needed = {
        each.name for each in wanted if not each.marker or each.marker.evaluate({"extra": ""})
    }
    return needed.union(*map(_needs, needed))


def _sources() -> Iterator[str]:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                parts = path.relative_to(ROOT).parts
                # What other tools find by its name has that name in the wheel.
                found = parts[:2] == ("broker", "neighbours") and len(parts) > 3
                yield "/".join(parts[2:] if found else ("mlbroker", *parts))


def test_the_wheel_holds_every_module_and_data_file_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    # The one file that a build makes; whoever runs the tests has it in the tree or not.
    assert names == {*_sources(), "mlbroker/broker/report/vega.js"}


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size <= 5 * MEGABYTE


def test_the_wheel_carries_licence_and_sources_of_its_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        licences = {
            name.rpartition("/")[2]: name for name in archive.namelist() if "/licenses/" in name
        }
        for name in ("LICENSE", "NOTICE"):
            assert archive.read(licences[name]) == (ROOT / name).read_bytes()


def test_the_installed_wheel_is_what_runs(installed: Path) -> None:
    where = "import mlbroker.broker.cli as cli; print(cli.__file__)"
    done = _run(installed.parent / "python", "-c", where, cwd=installed.parent)
    assert Path(done.stdout.strip()).is_relative_to(installed.parents[1])


def test_the_installed_wheel_plans(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "measured.csv").write_text(MEASUREMENT)
    done = _run(
        installed, "plan", "job.yaml", "--measure", "measured.csv", "--json", "--html", "plan.html",
        cwd=tmp_path, MLBROKER_HOME=str(tmp_path / "home"),
    )  # fmt: skip
    plan = json.loads(done.stdout)
    assert plan["schema"] == "mlbroker.plan/2"
    assert plan["choice"]["basis"] in {"measured", "predicted", "datasheet"}
    assert {quote["cloud"] for quote in plan["quotes"]} <= {"aws", "gcp", "azure"}
    # The charts' library was made by the build.
    assert (tmp_path / "plan.html").read_text().count("vegaEmbed") > 1


OUTSIDE = '''\
"""A cloud, an estimator and a guardrail of another package, held to what all promise."""

import pytest
from harness import SimulatorHarness

from mlbroker.policies.guardrails.interface import Rule
from mlbroker.testing.clouds import CloudSuite
from mlbroker.testing.estimators import EstimatorSuite
from mlbroker.testing.guardrails import Case, Guardrail, GuardrailSuite


class Nothing:
    """It knows nothing about any machine."""

    def estimate(self, evidence, targets):
        return [None for _ in targets]

    def guess_key(self, job):
        return None


class NotHere(Rule):
    """Forbids one cloud."""

    example = "gcp"

    def __init__(self, cloud):
        self.cloud = cloud

    @classmethod
    def read(cls, file, key):
        (cloud,) = file.names(key)
        return cls(cloud)

    def why_not(self, subject, run):
        return "not there" if subject.cloud == self.cloud else None


class TestNothing(EstimatorSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def estimator(cls):
        return Nothing()


class TestNotHere(GuardrailSuite):
    @pytest.fixture
    def guardrail(self):
        return Guardrail("not_here", NotHere, Case("aws", "gcp"))


class TestOrchard(CloudSuite):
    @pytest.fixture
    def harness(self, tmp_path):
        return SimulatorHarness(tmp_path)
'''


def test_a_package_outside_the_tree_holds_its_members_to_the_suites(
    installed: Path, tmp_path: Path
) -> None:
    support = ROOT / "tests" / "support"
    (tmp_path / "simulator.py").write_text((support / "simulator.py").read_text())
    harness = (support / "harness_simulator.py").read_text()
    (tmp_path / "harness.py").write_text(harness.replace("tests.support.simulator", "simulator"))
    (tmp_path / "test_orchard.py").write_text(OUTSIDE)
    python = installed.parent / "python"
    # An editable mlbroker does not come along: a .pth file is not read from here.
    done = _run(
        python, "-m", "pytest", "-p", "no:cacheprovider", "-v",
        cwd=tmp_path, PYTHONPATH=sysconfig.get_path("purelib"),
    )  # fmt: skip
    for test in (
        "TestOrchard::test_the_same_token_makes_one_machine",
        "TestNothing::test_one_sound_answer_for_each_target",
        "TestNotHere::test_it_forbids_and_lets_pass",
    ):
        assert f"{test} PASSED" in done.stdout
    assert " failed" not in done.stdout


@needs_openssh
def test_the_first_steps_of_a_newcomer(installed: Path, tmp_path: Path) -> None:
    """The commands of docs/first-steps.md in their order, with an empty home and no extras."""
    steps = re.findall(r"^\$ mlbroker (.+)$", (ROOT / "docs" / "first-steps.md").read_text(), re.M)
    assert [step.split()[0] for step in steps] == [
        "init",
        "profile",
        "plan",
        "run",
        "run",
        "ledger",
    ]
    (tmp_path / "home").mkdir()
    project = first_project(tmp_path)
    with running_sshd(tmp_path / "sshd") as node:
        (project / "nodes.yaml").write_text(node.nodes_yaml())
        for step in steps:
            done = subprocess.run(
                [installed, *shlex.split(step)],
                cwd=project,
                env={"PATH": f"{installed.parent}:{os.defpath}", "HOME": str(tmp_path / "home")},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
            assert "Error" not in done.stderr, done.stderr
    assert done.stdout.count("succeeded") == 2
    # Its packages went into an environment of its own, on both machines; what it made is here.
    assert (project / "where").read_text() == str(project / ".venv-job")
    assert (project / "model.bin").read_text() == "42"
    state = tmp_path / "home" / ".local" / "share" / "mlbroker"
    (model,) = (state / "runs").glob("*/outputs/model.bin")
    assert model.read_text() == "42"
    assert not list(installed.parents[1].glob("lib/python*/site-packages/answer*"))
