"""A script run with the probe on its path."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.support.hooks import PYTHON, Run, collect
from tests.support.mlbroker import PATIENCE_S

from mlbroker.broker.measure.agent_link import PROBE_FOLDER
from mlbroker.profiles.probe.mlbroker_agent.step_files import EventFiles, Note
from mlbroker.profiles.stepping.stream import StepStreams


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a script with the probe on its path; returns all it counted and said."""

    def start(script: str, **env: str) -> tuple[StepStreams, list[Note]]:
        events = tmp_path / "events"
        events.mkdir()
        source = tmp_path / "train.py"
        source.write_text(script)
        subprocess.run(
            [PYTHON, str(source)],
            env={
                **os.environ,
                "MLBROKER_PROBE_DIR": str(events),
                "PYTHONPATH": str(PROBE_FOLDER),
                **env,
            },
            check=True,
            timeout=PATIENCE_S,
        )
        steps, notes = EventFiles(str(events)).read()
        return collect(steps, notes), notes

    return start
