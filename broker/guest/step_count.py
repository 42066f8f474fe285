"""How many steps the job has made, by all that counts them: its output, the hooks, a file."""

import os
import time
from contextlib import suppress
from typing import Dict, Optional

from .box import TRAINING
from .step_files import EventFiles, ProgressFile
from .step_lines import OutputStep, StepLines, noise_in
from .stream import StepStreams

# A job may last for weeks: of each count this many moments are kept.
MOST_EVENTS = 256
LOOK_EVERY_S = 1.0
LONGEST_WORD = 100


class StepCount:
    """`step` of `steps` are done, as `counted_by` counts them. None is unknown.

    The hooks write into `folder`, at most every `LOOK_EVERY_S`. `training` is what is told of the
    gradient noise and the batch, where a run asks for it.
    """

    def __init__(self, folder: str, progress: Optional[str], noise: bool = False) -> None:
        self._noise = noise
        self.training: Dict[str, str] = {}
        self._folder = folder
        self._lines = StepLines(progress)
        self._told: Dict[str, OutputStep] = {}
        self._streams = StepStreams(MOST_EVENTS)
        self._files = EventFiles(folder)
        self._progress_file = ProgressFile(self.progress_file)
        self._look_at = 0.0
        self.step: Optional[int] = None
        self.steps: Optional[int] = None
        self.counted_by: Optional[str] = None

    @property
    def progress_file(self) -> str:
        """Where a job may write its step number."""
        return os.path.join(self._folder, "progress")

    def variables(self) -> Dict[str, str]:
        """What the job's environment tells those who count."""
        asked = {"MLBROKER_PROBE_NOISE": "1"} if self._noise else {}
        return {
            **asked,
            "MLBROKER_PROBE_DIR": self._folder,
            "MLBROKER_PROBE_EVERY_S": str(LOOK_EVERY_S),
            "MLBROKER_PROGRESS_FILE": self.progress_file,
        }

    def read_line(self, line: bytes) -> None:
        """A line of the job's output."""
        for seen in self._lines.read(line):
            self._told[seen.source] = seen
        told = noise_in(line) if self._noise else None
        if told is not None:
            self.training["noise_told"] = told

    def look(self, final: bool = False) -> bool:
        """Whether there are more steps than at the last look. Files are read now and then."""
        now = time.monotonic()
        if not (self._told or final or now >= self._look_at):
            return False
        before, events = self.step, self._streams.events
        self._streams.add((s.source, 0, now, s.done, s.total, 0.0) for s in self._told.values())
        self._told.clear()
        if final or now >= self._look_at:
            self._look_at = now + LOOK_EVERY_S
            self._read_files(now)
        if final or self._streams.events > events:
            self._choose(final)
        return self.step != before

    def _read_files(self, now: float) -> None:
        with suppress(OSError):  # the folder is gone, or the disk fails: nothing is told there
            steps, notes = self._files.read()
            for note in notes:
                self._streams.note(*note)
                if self._noise and note.key in TRAINING:
                    self.training[note.key] = note.value[:LONGEST_WORD]
            self._streams.add((s.source, s.pid, s.time_s, s.done, s.total, 0.0) for s in steps)
        for seen in self._progress_file.read(now):
            self._streams.add([(seen.source, 0, now, seen.done, seen.total, 0.0)])

    def _choose(self, final: bool) -> None:
        believed = self._streams.best(None, final)
        if believed is not None:
            self.step, self.steps = believed.counts[-1], believed.total
            self.counted_by = believed.source
