"""Where a lane's trial saves itself, and where paused trials wait, for whichever lane goes on.

The checkpoint of a trial's last pause stays until the next one is whole: a lane that is killed
leaves its trial as it was paused, with the steps that were counted.
"""

import os
import shutil
from pathlib import Path

from mlbroker.broker.tuning.record import StudyFolder


class Checkpoints:
    """Of one lane. `named` is the folder that the job names; one of several `lanes` has its own."""

    def __init__(self, folder: StudyFolder, lane: str, named: Path, lanes: int) -> None:
        self._folder, self._named = folder, named
        self.own = named if lanes == 1 else folder.lane(lane) / "checkpoint"
        self._watched = lanes > 1 and not _holds_files(named)

    def bring(self, trial: int) -> None:
        """Lay out the trial's last pause, or an empty folder."""
        kept = self._kept(trial)
        if self.own.exists():
            shutil.rmtree(self.own)
        if kept.exists():
            shutil.copytree(kept, self.own, symlinks=True)
        else:
            self.own.mkdir(parents=True)

    def keep(self, trial: int) -> None:
        """What the trial saved is its last pause from now on."""
        if not self.own.is_dir():
            return
        kept = self._kept(trial)
        new, old = kept.with_suffix(".new"), kept.with_suffix(".old")
        kept.parent.mkdir(parents=True, exist_ok=True)
        for rest in (new, old):
            shutil.rmtree(rest, ignore_errors=True)
        shutil.move(self.own, new)
        if kept.exists():
            kept.rename(old)
        new.rename(kept)
        shutil.rmtree(old, ignore_errors=True)

    @property
    def elsewhere(self) -> bool:
        """Whether the job saved itself where all lanes would."""
        return self._watched and _holds_files(self._named)

    def _kept(self, trial: int) -> Path:
        kept = self._folder.checkpoint(trial)
        new = kept.with_suffix(".new")
        if new.exists() and not kept.exists() and kept.with_suffix(".old").exists():
            new.rename(kept)  # who was at it died in between
        return kept


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and any(os.scandir(folder))
