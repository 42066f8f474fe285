"""What a user sees who installed mlbroker without its extras, and set up no cloud."""

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.mlbroker import PATIENCE_S, PROGRAM, Cli

LIBRARIES = ("azure", "boto3", "botocore", "google", "googleapiclient", "obstore", "requests")
HIDDEN = "import sys\nsys.modules.update(dict.fromkeys({names}))\n"


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    folder = tmp_path_factory.mktemp("bare")
    (folder / "sitecustomize.py").write_text(HIDDEN.format(names=LIBRARIES))
    return Cli(folder)


def bare(cli: Cli, *words: object, **extra: str) -> "subprocess.CompletedProcess[str]":
    return cli(*words, PYTHONPATH=str(cli.folder), **extra)


@pytest.mark.parametrize(
    ("cloud", "words"),
    [
        ("aws", "run JOB --cloud aws --budget 1 --yes"),
        ("aws", "doctor --cloud aws"),
        ("gcp", "doctor --cloud gcp"),
        ("azure", "doctor --cloud azure"),
        ("azure", "ledger reconcile-bill --cloud azure"),
        ("aws", "prices quotas --refresh --cloud aws"),
        ("gcp", "prices refresh --cloud gcp"),
    ],
)
def test_a_missing_library_is_named_with_what_installs_it(cli: Cli, cloud: str, words: str) -> None:
    job = cli.job("true")
    subscription = "00000000-0000-0000-0000-000000000000"
    answer = bare(cli, *words.replace("JOB", str(job)).split(), AZURE_SUBSCRIPTION_ID=subscription)
    assert answer.returncode == 1
    assert "ModuleNotFoundError" not in answer.stderr
    (command,) = {line.strip() for line in answer.stderr.splitlines() if "Install it: " in line}
    program, *install = shlex.split(command.partition("Install it: ")[2])
    assert (program, install[:3]) == (sys.executable, ["-m", "pip", "install"])
    first = {"aws": "boto3", "gcp": "google-auth", "azure": "azure-identity"}[cloud]
    assert install[3].startswith(first)


@pytest.mark.parametrize("words", ["run JOB --budget 1 --yes", "profile JOB --auto --yes"])
def test_without_any_cloud_this_machine_is_offered(cli: Cli, words: str) -> None:
    answer = bare(cli, *words.replace("JOB", str(cli.job("true"))).split())
    assert answer.returncode == 1
    assert "nothing is set up to launch on: aws: this needs AWS's library" in answer.stderr
    assert "This machine needs nothing: --on local." in answer.stderr


def test_a_dry_run_says_what_would_run(cli: Cli) -> None:
    answer = bare(cli, "run", cli.job("true"), "--budget", "1", "--dry-run")
    assert answer.returncode == 0, answer.stderr
    assert "nothing is set up to launch on" in answer.stderr
    assert "Dry run: nothing was reserved" in answer.stderr


def test_whoever_can_be_asked_is_asked_for_this_machine(cli: Cli) -> None:
    person, terminal = pty.openpty()
    os.write(person, b"y\ny\n")
    answer = subprocess.run(
        [*PROGRAM, "run", cli.job("echo here"), "--budget", "1"],
        cwd=cli.folder,
        env=cli.environment(PYTHONPATH=str(cli.folder)),
        stdin=terminal,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert answer.returncode == 0, answer.stderr
    assert "Run it on this machine instead?" in answer.stderr
    assert answer.stdout.strip() == "here"


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])
def test_a_set_up_is_written_without_any_library(cli: Cli, cloud: str, tmp_path: Path) -> None:
    subscription = "00000000-0000-0000-0000-000000000000"
    answer = bare(cli, "init", tmp_path, "--cloud", cloud, AZURE_SUBSCRIPTION_ID=subscription)
    assert answer.returncode == 0, answer.stderr
