"""What travels to the machine that measures: the work folder, the probe and what to run."""

import io
import json
import shlex
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlbroker.broker.measure.agent_link import PROBE_FOLDER
from mlbroker.broker.runs.bundle import pack_workdir
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.profiles.job import Job

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


def run_spec(
    job: Job, cloud: str, folder: RunFolder, spec: Mapping[str, Any], secrets: Mapping[str, str]
) -> dict[str, Any]:
    """The agent as the job of a run. Its own command line never meets the user's words."""
    here = job.workdir or str(Path.cwd())
    spec = {**spec, "control": False}
    if cloud == "local":
        # As a run on this machine does: in the job's own folder, with all that lies there.
        path = folder.path / SPEC
        folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(json.dumps(spec) + "\n", encoding="utf-8")
        python, probe = shlex.quote(sys.executable), shlex.quote(str(PROBE_FOLDER))
        command = f"cd {probe} && exec {python} -m mlbroker_agent < {shlex.quote(str(path))}"
    else:
        pack(Path(here), {**spec, "cwd": ".."}, folder.bundle, secrets)
        command = f"cd {FOLDER} && exec python3 -m mlbroker_agent < {SPEC}"
    return {
        "setup": None,
        "command": command,
        "envs": {},
        "workdir": here if cloud == "local" else None,
        "progress": None,
        "checkpoint": None,
        "stop_when_idle_s": None,
    }
