"""What a machine says of itself until its guest speaks: all there is to know of a failed start."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.errors import CloudError
from mlbroker.broker.guest.output import masked
from mlbroker.broker.ledger import Attempt
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.folder import RunFolder

EVERY_S = 15.0
KEPT_BYTES = 1 << 18
_ENDS = frozenset({"lost", "machine_failed"})


class Console:
    """Keeps the console of the machine at hand, as long as that may be what explains its end."""

    def __init__(self, folder: RunFolder, clock: Clock, secrets: Mapping[str, str] | None) -> None:
        self._folder = folder
        self._clock = clock
        self._secrets = list((secrets or {}).values())
        self._looked_at: datetime | None = None

    def watch(self, cloud: Cloud, attempt: Attempt, ending: bool) -> None:
        """Look now and then: some vendors throw the console away with the machine."""
        now = self._clock.now()
        self._looked_at = self._looked_at or now
        if ending or now - self._looked_at >= timedelta(seconds=EVERY_S):
            self._looked_at = now
            self._keep(cloud, attempt)

    def close(self, cloud: Cloud, attempt: Attempt, spoke: bool) -> None:
        """The attempt is over: a last look, or away with what explains nothing."""
        if attempt.why in _ENDS or (attempt.why == "capped" and not spoke):
            self._keep(cloud, attempt)
        else:
            self._folder.console(attempt.number).unlink(missing_ok=True)

    def _keep(self, cloud: Cloud, attempt: Attempt) -> None:
        try:
            text = cloud.console_log(attempt.machine_id or "")
            if text:
                data = masked(text.encode("utf-8", "replace")[-KEPT_BYTES:], self._secrets)
                self._folder.console(attempt.number).write_bytes(data)
        except (CloudError, OSError):
            # It would only have helped to understand.
            return


def last_lines(path: Path, count: int) -> list[str]:
    """The end of a kept console; nothing where none is kept."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if line.strip()][-count:]
