"""Scripts run with the probe on their path, in a Python that has the training libraries."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import pytest

from mlbroker.profiles.probe.mlbroker_agent.step_files import Note, StepEvent
from mlbroker.profiles.stepping.stream import StepSeries, StepStreams

PYTHON = os.environ.get("MLBROKER_HOOKS_PYTHON", sys.executable)

Run = Callable[..., tuple[StepStreams, list[Note]]]


@cache
def installed(library: str) -> bool:
    command = f"import importlib.util as u, sys; sys.exit(u.find_spec({library!r}) is None)"
    return subprocess.run([PYTHON, "-c", command], check=False).returncode == 0


def needs(library: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not installed(library), reason=f"needs a Python with {library}: MLBROKER_HOOKS_PYTHON=…"
    )


def collect(steps: list[StepEvent], notes: list[Note]) -> StepStreams:
    streams = StepStreams()
    for note in notes:
        streams.note(*note)
    streams.add((s.source, s.pid, s.time_s, s.done, s.total, s.waited_s) for s in steps)
    return streams


def best(streams: StepStreams) -> StepSeries:
    series = streams.best(None, final=True)
    assert series is not None
    return series


def said(notes: list[Note]) -> dict[str, str]:
    return {note.key: note.value for note in notes}
