"""An attempt's box, seen from another machine than the job's: what its guest left in a folder.

Processes are out of sight, and locks may not reach from node to node: who lives is Slurm's to say.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from shutil import copyfile
from typing import Any

from mlbroker.broker.clouds.guest_report import Report, report_of
from mlbroker.broker.clouds.interface import Denied, Payload, Unclear
from mlbroker.broker.guest import box as files
from mlbroker.broker.guest.bundle import guest_program
from mlbroker.broker.guest.main import discard, get, part, stop
from mlbroker.broker.guest.watchdog import is_alive, prevent
from mlbroker.broker.home import private_folder

PROGRAM = "guest.pyz"
LOG = "guest.log"


class SharedBox:
    """The folder of one attempt, which its job's node has too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._box = str(folder)

    def lay_out(self, spec: Mapping[str, Any], payload: Payload) -> None:
        """All that the job needs, but its secrets."""
        try:
            private_folder(self._box)
            for source, name in ((payload.bundle, files.BUNDLE), (payload.restore, files.RESTORE)):
                if source is not None and source.exists():
                    copyfile(source, self.folder / name)
            (self.folder / PROGRAM).write_bytes(guest_program())
            if not (self.folder / files.END).exists():
                files.reserve(self._box)
            files.write_json(self._box, files.SPEC, dict(spec))
        except OSError as error:
            raise Denied(f"cannot lay out the job's box: {error}", where=self._box) from error

    @property
    def started(self) -> bool:
        """Whether a job ever began in it."""
        return files.read(self._box, files.ALIVE) == files.STARTED

    @property
    def prevented(self) -> bool:
        """Whether none ever will."""
        return files.read(self._box, files.ALIVE) == files.PREVENTED

    def prevent(self) -> None:
        """See to it that no job begins in it from now on; one that did goes on."""
        try:
            prevent(self._box)
        except OSError as error:
            raise Unclear(f"the job's box cannot be used now: {error}") from error

    def locked(self) -> bool:
        """Whether its guest is seen to live; False says nothing where locks do not travel."""
        try:
            return is_alive(self._box)
        except OSError:
            return False

    def beat(self) -> object:
        """Changes each second while the guest lives."""
        return (files.read_json(self._box, files.STATUS) or {}).get("at")

    def times(self) -> tuple[datetime | None, datetime | None]:
        """From when until when a job was in it, by its own account."""
        spec = files.read_json(self._box, files.SPEC) or {}
        end = files.read_json(self._box, files.END) or {}
        try:
            began = datetime.fromisoformat(str(spec.get("started_at")))
        except ValueError:
            return None, None
        elapsed_s = end.get("elapsed_s")
        if not isinstance(elapsed_s, (int, float)) or not 0 <= elapsed_s < 1e9:
            return began, None
        return began, began + timedelta(seconds=elapsed_s)

    @property
    def asked_to_stop(self) -> bool:
        """Whether the guest was told through the folder, and need not have been by a signal."""
        return files.read(self._box, files.STOP) is not None

    @property
    def over(self) -> bool:
        """Whether the guest saved its last file."""
        return files.read(self._box, files.OVER) is not None

    def ended(self) -> Mapping[str, Any] | None:
        """How the job ended, as the guest has it."""
        return files.read_json(self._box, files.END)

    def report(self, ended: Mapping[str, Any] | None, final: bool) -> Report:
        """What the guest wrote, with this for its end."""
        return report_of(
            {
                "status": files.read_json(self._box, files.STATUS),
                "ended": ended,
                "end": ended if final else None,
                "log_bytes": self._size(files.LOG),
                "checkpoint_bytes": self._size(files.CHECKPOINT),
            }
        )

    @property
    def last_words(self) -> str:
        """The last line that its keepers wrote, or Slurm about them."""
        lines = part(self._box, LOG, 0).decode("utf-8", "replace").split("\n")
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")

    def stop(self, why: str) -> None:
        """Leave the request where the supervisor looks for it."""
        try:
            stop(self._box, why)
        except OSError as error:
            raise Unclear(f"the job's box cannot be used now: {error}") from error

    def read(self, name: str, offset: int) -> bytes:
        """So much of a file as one answer holds."""
        return part(self._box, name, offset)

    def get(self, name: str, into: Any) -> None:
        """A whole file, or the outputs packed."""
        get(self._box, name, into)

    def discard(self) -> None:
        """Remove its bulk."""
        discard(self._box)

    def _size(self, name: str) -> int:
        try:
            return (self.folder / name).stat().st_size
        except OSError:
            return 0
