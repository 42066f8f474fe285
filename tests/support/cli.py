"""Calling the installed `mlbroker` as a user does: a process of its own, with a home of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.mlbroker import PATIENCE_S

SCRIPT = Path(sys.executable).with_name("mlbroker")


def mlbroker(
    *args: str | Path,
    home: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """The finished process, its two outputs as text. The user's own settings are kept out."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MLBROKER")}
    return subprocess.run(
        [str(SCRIPT), *map(str, args)],
        cwd=cwd,
        env=clean | {"MLBROKER_HOME": str(home), "NO_COLOR": "1"} | dict(env or {}),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
