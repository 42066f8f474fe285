"""Real git repositories with job files, and `mlbroker check` called inside them."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlbroker.broker.cli import build_app
from mlbroker.broker.errors import MlbrokerError

ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "2026-11-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-11-01T00:00:00Z",
}


def job_text(name: str, steps: int = 20_000, **broker: object) -> str:
    """A small CPU job, whose file tells its time. Further fields of the broker block can be given;
    None leaves one out.
    """
    work = f"{{steps: {steps}, hours: {steps / 20_000 * 1.4:g}, on: m5.xlarge}}"
    block = {"deadline": "12h", "work": work, "runs_per_month": 30} | broker
    lines = "".join(f"  {key}: {value}\n" for key, value in block.items() if value is not None)
    return f"name: {name}\nresources: {{cpus: 4+}}\nrun: python train.py\nbroker:\n{lines}"


class Repository:
    """A git repository in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.root, env=ENVIRONMENT, capture_output=True, check=True
        )
        return done.stdout.decode()

    def write(self, path: str, content: str | bytes) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: Mapping[str, str] | None = None, message: str = "change") -> str:
        for path, content in (files or {}).items():
            self.write(path, content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def branch(self, name: str = "feature") -> None:
        self.git("checkout", "-q", "-b", name)


@dataclass(frozen=True)
class Checked:
    """How a call of `mlbroker check` ended."""

    code: int
    stdout: str
    stderr: str


def check(*arguments: str, cwd: Path, home: Path, **environment: str) -> Checked:
    """`mlbroker check`, in this process but through its whole command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.setenv("MLBROKER_HOME", str(home))
        patch.delenv("MLBROKER_NODES", raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        arguments = ("check", *arguments)
        result = CliRunner().invoke(build_app(list(arguments)), list(arguments))
        if isinstance(result.exception, MlbrokerError):
            code = result.exception.exit_code
            return Checked(code, result.stdout, f"{result.stderr}Error: {result.exception}\n")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Checked(result.exit_code, result.stdout, result.stderr)
