"""A small study: a job that is quick, and the folder of its record."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbroker.broker.tuning.lane import LIFETIME, MARGIN_S, NUMBER
from mlbroker.broker.tuning.record import StudyFolder, StudyState, study_body
from mlbroker.profiles.search_space import Choice, Range, Study

SPACE = {"X": Range(0.0, 1.0), "KIND": Choice(("a", "b"))}
STUDY = Study("acc", True, SPACE, "epoch", 9, trials=8)

# Goes on from its checkpoint; each step is worth a little more.
TRAIN = """
import os, sys
folder, most = os.environ["MLBROKER_CHECKPOINT_DIR"], int(os.environ["MLBROKER_RESOURCE"])
path = os.path.join(folder, "step")
step = int(open(path).read()) if os.path.exists(path) else 0
with open("started", "a") as log:
    log.write(f"{os.environ['MLBROKER_TRIAL']} {step} {most} {os.environ['X']}\\n")
while step < most:
    step += 1
    with open(path, "w") as file:
        file.write(str(step))
    print(f"::mlbroker metric={float(os.environ['X']) * step / 9} at={step}", flush=True)
"""


@dataclass(frozen=True)
class AStudy:
    """Its job works in `folder`, its record is below `state`."""

    folder: Path
    study: Study = STUDY
    name: str = "s"

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.folder / "home"

    @property
    def record(self) -> StudyFolder:
        """Where its results are."""
        return StudyFolder.of(self.state, self.name)

    def begin(self, command: str | None = None, **more: Any) -> None:
        """Lay it down, with a job that runs `command`, or the usual one."""
        (self.folder / "train.py").write_text(TRAIN)
        terms = {
            "command": command or f"{sys.executable} train.py",
            "workdir": str(self.folder),
            "checkpoint": "ckpt",
            "study": study_body(self.study),
            "searcher": "random",
            "seed": 1,
            "patience": None,
            **more,
        }
        self.record.begin(self.state, terms)

    def start_lane(
        self, left_s: float = 1000.0, run: str = "r", number: str = "1/1"
    ) -> "subprocess.Popen[str]":
        """A process that works on it, as its run starts one, with so much time."""
        life_s = left_s + _age_s()
        life_s = life_s / 0.9 if life_s < 9 * MARGIN_S else life_s + MARGIN_S
        return subprocess.Popen(
            [sys.executable, "-I", "-m", "mlbroker.broker.tuning.lane", str(self.record.path)],
            env={
                **os.environ,
                LIFETIME: str(life_s),
                NUMBER: number,
                "MLBROKER_RUN_ID": run,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def lane(self, left_s: float = 1000.0) -> tuple[int, str]:
        """The same to its end: exit code and output."""
        process = self.start_lane(left_s)
        said, _ = process.communicate(timeout=120)
        return process.returncode, said

    def now(self) -> StudyState:
        """What the record says."""
        return self.record.load()


def _age_s() -> float:
    """Of this process: a lane counts from the start of the one that started it."""
    from mlbroker.broker.guest.processes import boot_clock, stat_fields

    fields = stat_fields(os.getpid())
    assert fields is not None
    return boot_clock() - int(fields[19]) / os.sysconf("SC_CLK_TCK")
