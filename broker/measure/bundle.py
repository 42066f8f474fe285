"""What travels to the machine that measures: the work folder, the probe and what to run."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlbroker.broker.measure.agent_link import PROBE_FOLDER
from mlbroker.broker.runs.bundle import pack_workdir

FOLDER = ".mlbroker-probe"
SPEC = "spec.json"


def pack(workdir: Path, spec: Mapping[str, Any], target: Path, secrets: Mapping[str, str]) -> None:
    """Write the bundle: what a run would send, and the probe in a folder of its own beside it."""
    plain = target.with_name("workdir.tar.gz")
    pack_workdir(workdir, plain, secrets)
    with tarfile.open(plain) as source, tarfile.open(target, "w:gz", compresslevel=6) as tar:
        for member in source:
            tar.addfile(member, source.extractfile(member) if member.isfile() else None)
        for path in sorted(PROBE_FOLDER.rglob("*.py")):
            tar.add(path, f"{FOLDER}/{path.relative_to(PROBE_FOLDER)}")
        text = (json.dumps(spec) + "\n").encode()
        entry = tarfile.TarInfo(f"{FOLDER}/{SPEC}")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    plain.unlink()
