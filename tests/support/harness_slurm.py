"""A real Slurm on loopback under the conformance suite."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import pytest
from tests.support.boxes import BoxHarness
from tests.support.slurm import FOUND, Slurm, running_slurm

from mlbroker.broker.clouds.interface import Cloud, Payload
from mlbroker.broker.clouds.slurm.cloud import SlurmCloud

# Stands before a command of Slurm's: `KIND COUNT` in its file, and the command fails so.
_WRAPPER = """#!/bin/sh
read -r kind left < {state}
if [ "$kind" = hide ] && [ "$(date +%s)" -lt "$left" ]; then exit 0; fi
if [ "$kind" = request ] || [ "$kind" = answer ] && [ "$left" -gt 0 ]; then
  echo "$kind $((left - 1))" > {state}
  [ "$kind" = answer ] && {program} "$@" > /dev/null
  echo "{name}: error: Batch job submission failed: Socket timed out on send/recv operation" >&2
  exit 1
fi
exec {program} "$@"
"""


class SlurmHarness(BoxHarness):
    name = "slurm"

    def __init__(self, folder: Path, slurm: Slurm) -> None:
        self._home = folder / "home"
        self._home.mkdir()
        self._bin = folder / "bin"
        self._bin.mkdir()
        self._slurm = slurm
        (self._home / "nodes.yaml").write_text(slurm.nodes_yaml())
        for name in ("sbatch", "squeue"):
            self._fail(name, "none 0")
            wrapper = self._bin / name
            text = _WRAPPER.format(
                state=self._bin / f"{name}.state", program=which(name), name=name
            )
            wrapper.write_text(text)
            wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
        self.cloud: Cloud = SlurmCloud(self._home)
        self.spared = {
            "late deletes": "the guest in the job is asked beside Slurm",
            "quota": "needs accounting, which the loopback Slurm has not",
            "capacity": "a job waits in Slurm's queue",
        }

    def reopened(self) -> Cloud:
        return SlurmCloud(self._home)

    def type_name(self) -> str:
        return "cluster"

    def payload(self, seconds: float, code: int = 0) -> Payload:
        return Payload({"command": f"sleep {seconds}; exit {code}"})

    def stranger(self) -> str:
        script = "#!/bin/sh\nsleep 300\n"
        options = ("--job-name=somebody-else", "--time=5", "--output=/dev/null")
        return self._slurm("sbatch", "--parsable", *options, stdin=script).strip()

    def stranger_lives(self, machine_id: str) -> bool:
        state = self._slurm("squeue", "-h", "--states=all", "-j", machine_id, "-o", "%T")
        return state.strip() in ("PENDING", "RUNNING")

    def lose_answers(self, call: str, times: int) -> None:
        self._fail("sbatch", f"answer {times}")

    def lose_requests(self, call: str, times: int) -> None:
        self._fail("sbatch", f"request {times}")

    def hide_new_machines(self, seconds: float) -> None:
        self._fail("squeue", f"hide {int(time.time() + seconds)}")

    def _fail(self, name: str, how: str) -> None:
        (self._bin / f"{name}.state").write_text(how + "\n")

    def clean_up(self) -> None:
        self._slurm("scancel", "--name=somebody-else")
        for machine in self.cloud.find({}):
            self.cloud.terminate(machine.id)


@contextmanager
def open_harness(folder: Path) -> Iterator[SlurmHarness]:
    if not FOUND:
        pytest.skip("needs Slurm: apt-get install slurm-wlm munge")
    # The suite's tests all use one token, and Slurm lists jobs that are over for a while.
    with running_slurm() as slurm, pytest.MonkeyPatch.context() as patch:
        for name, value in slurm.environment.items():
            patch.setenv(name, value)
        harness = SlurmHarness(folder, slurm)
        patch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
        try:
            yield harness
        finally:
            harness.clean_up()
