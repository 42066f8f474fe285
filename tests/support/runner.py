"""Runs the steps of a composite GitHub Action as the runner does: its variables, its shell."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tests.support.mlbroker import PATIENCE_S

EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")


@dataclass
class Runner:
    """One job of one event. `contexts` are values of expressions such as `github.token`."""

    action: Path
    temp: Path
    workspace: Path
    environment: Mapping[str, str]
    contexts: Mapping[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        return (self.temp / "summary.md").read_text()

    @property
    def outputs(self) -> dict[str, str]:
        lines = (self.temp / "output").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def run(self, inputs: Mapping[str, str]) -> list[subprocess.CompletedProcess[str]]:
        """The steps, until one fails."""
        action: dict[str, Any] = yaml.safe_load(self.action.read_text())
        values = {
            f"inputs.{name}": inputs.get(name, self._expand(str(given.get("default", "")), {}))
            for name, given in action["inputs"].items()
        }
        assert set(inputs) <= set(action["inputs"])
        done = []
        for step in action["runs"]["steps"]:
            done.append(self._step(step, values))
            if done[-1].returncode:
                break
        return done

    def _step(
        self, step: Mapping[str, Any], values: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        assert step["shell"] == "bash"
        script = self.temp / "step.sh"
        script.write_text(self._expand(step["run"], values))
        own = {name: self._expand(text, values) for name, text in step.get("env", {}).items()}
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
            cwd=self.workspace,
            env={
                **self.environment,
                "RUNNER_TEMP": str(self.temp),
                "GITHUB_ACTION_PATH": str(self.action.parent),
                "GITHUB_STEP_SUMMARY": str(self.temp / "summary.md"),
                "GITHUB_OUTPUT": str(self.temp / "output"),
                **own,
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    def _expand(self, text: str, values: Mapping[str, str]) -> str:
        def value(found: re.Match[str]) -> str:
            names = found[1].split(" || ")
            return next(filter(None, (self._value(name, values) for name in names)), "")

        return EXPRESSION.sub(value, text)

    def _value(self, name: str, values: Mapping[str, str]) -> str:
        if name.startswith("inputs."):
            return values[name]
        assert name.startswith("github."), name
        return self.contexts.get(name, "")
