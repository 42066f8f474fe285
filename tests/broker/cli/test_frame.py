"""The frame around all commands: loading, help, exit codes, pipes, and what reaches a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cli import SCRIPT, mlbroker

from mlbroker.broker import cli
from mlbroker.broker.app.prices import plain
from mlbroker.broker.cli import explain_all
from mlbroker.broker.cli.commands import COMMANDS
from mlbroker.broker.errors import (
    CloudError,
    InputError,
    Interrupted,
    JobFailed,
    MlbrokerError,
    NothingFeasible,
    RefusedError,
    ThresholdCrossed,
)
from mlbroker.broker.output import clean
from mlbroker.pricing.offer import Gpu, Hardware


def test_help_lists_every_command_and_imports_none(tmp_path: Path) -> None:
    done = mlbroker("--help", home=tmp_path)
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"  {name} " in done.stdout
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", str(SCRIPT), "--help"], capture_output=True, text=True
    ).stderr
    assert "mlbroker.broker.cli.commands" in loaded
    for slow in ("pandas", "numpy", "pydantic", "boto3", "rich.console", "mlbroker.broker.cli.run"):
        assert f" {slow}\n" not in loaded


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, tmp_path: Path) -> None:
    done = mlbroker(name, "--help", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert COMMANDS[name].help.split()[0] in done.stdout
    lines = done.stdout.partition("Commands:")[2].splitlines()
    assert not [line for line in lines if line.endswith("...")], "a help line that is cut"


def test_an_unknown_command_is_bad_usage(tmp_path: Path) -> None:
    done = mlbroker("plam", home=tmp_path)
    assert done.returncode == 2
    assert "plam" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_version(tmp_path: Path) -> None:
    assert mlbroker("--version", home=tmp_path).stdout.startswith("mlbroker ")


def test_completion_knows_the_commands(tmp_path: Path) -> None:
    done = mlbroker(
        home=tmp_path,
        env={"_MLBROKER_COMPLETE": "complete_bash", "COMP_WORDS": "mlbroker pl", "COMP_CWORD": "1"},
    )
    assert done.stdout.split() == ["plan"]


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    line = f"'{SCRIPT}' prices export --format csv | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line],
        env=os.environ | {"MLBROKER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    header, code = done.stdout.splitlines()
    assert header.startswith("cloud,region,instance_type,market,price_per_hour_usd,as_of")
    assert code == "0"
    assert "Traceback" not in done.stderr


def test_a_bug_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(argv: list[str]) -> None:
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr(cli, "build_app", broken)
    assert cli._run(["plan"]) == 1
    said = capsys.readouterr().err
    assert "RuntimeError: what nobody thought of" in said
    assert "Traceback" not in said
    monkeypatch.setenv("MLBROKER_DEBUG", "1")
    with pytest.raises(RuntimeError):
        cli._run(["plan"])


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["plan", "job.yaml", "--explain"], ["plan", "job.yaml", "--explain", "*"]),
        (["plan", "--explain", "job.yaml"], ["plan", "--explain", "*", "job.yaml"]),
        (["plan", "--explain", "--json", "j.yml"], ["plan", "--explain", "*", "--json", "j.yml"]),
        (["plan", "--explain", "g5.xlarge", "j"], ["plan", "--explain", "g5.xlarge", "j"]),
        (["plan", "job.yaml"], ["plan", "job.yaml"]),
    ],
)
def test_explain_takes_a_value_or_none(argv: list[str], expected: list[str]) -> None:
    assert explain_all(argv) == expected


def test_one_exit_code_a_branch() -> None:
    codes = {
        MlbrokerError: 1,
        CloudError: 1,
        InputError: 2,
        RefusedError: 3,
        NothingFeasible: 4,
        ThresholdCrossed: 5,
        JobFailed: 100,
        Interrupted: 130,
    }
    assert {kind: kind("x").exit_code for kind in codes} == codes
    assert str(InputError("bad", where="f:3", hint="do")) == "f:3: bad\n  do"


@given(st.text())
def test_nothing_invisible_reaches_the_terminal(text: str) -> None:
    shown = clean(text)
    for character in "\x1b\x07\x00\u202e\u2066\u200b":
        assert character not in shown
    if text.isascii() and text.isprintable():
        assert shown == text


def test_named_fields_become_dictionaries() -> None:
    box = Hardware(4, 16, "x86_64", gpu=Gpu("T4", 16))
    assert plain(box)["gpu"]["model"] == "T4"
    assert plain(box)["vcpus"] == 4
