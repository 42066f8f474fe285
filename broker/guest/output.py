"""The job's output on its way to the log: secrets masked, its lines shown to who counts steps."""

import re
import time
from typing import BinaryIO, Callable, Dict, List

MASK = b"***"
# Letters; shorter ones would be found in many a word, and masking them would tell where.
LEAST_MASKED = 4
_HOLD_BYTES = 65536
_HOLD_S = 0.3


class Output:
    """Takes raw output, writes masked output, and hands every line to `read_line`."""

    def __init__(
        self, log: BinaryIO, secrets: List[str], read_line: Callable[[bytes], None]
    ) -> None:
        self._log = log
        self._secrets = _needles(secrets)
        self._longest = max(map(len, self._secrets), default=1)
        self._read_line = read_line
        self._held = b""
        self._held_since = 0.0
        self.dropped_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take what the job wrote."""
        if not self._held:
            self._held_since = time.monotonic()
        self._held += data
        cut = max(self._held.rfind(b"\n"), self._held.rfind(b"\r")) + 1
        if cut:
            self._emit(cut)

    def tick(self, final: bool = False) -> None:
        """Let go of a line that is long in coming, save what may be the start of a secret."""
        late = time.monotonic() - self._held_since > _HOLD_S or len(self._held) > _HOLD_BYTES
        if self._held and (final or late):
            self._emit(len(self._held) if final else self._before_secrets())

    def _before_secrets(self) -> int:
        """How much of a line may go: no secret begins there that is not there as a whole."""
        cut = max(0, len(self._held) - self._longest + 1)
        whole = False
        while not whole:
            whole = True
            for needle in self._secrets:
                found = self._held.find(needle, max(0, cut - len(needle) + 1), cut + len(needle))
                if 0 <= found < cut < found + len(needle):
                    cut, whole = found, False
        return cut

    def say(self, text: str) -> None:
        """A line of ours in the log, in its turn."""
        self.tick(final=True)
        self._write(f"[mlbroker] {text}\n".encode())

    def _emit(self, cut: int) -> None:
        ready, self._held = self._held[:cut], self._held[cut:]
        self._held_since = time.monotonic()
        for line in re.split(rb"[\r\n]", ready):
            self._read_line(line)
        self._write(_mask(ready, self._secrets))

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[self._log.write(left) :]
        except OSError:
            # A full disk must not end the job, nor the supervision of it.
            self.dropped_bytes += len(left)


def masked(data: bytes, secrets: List[str]) -> bytes:
    """Output with the values of secrets, and their lines, made unreadable."""
    return _mask(data, _needles(secrets))


def _mask(data: bytes, needles: List[bytes]) -> bytes:
    for needle in needles:
        data = data.replace(needle, MASK)
    return data


def unmasked(secrets: Dict[str, str]) -> List[str]:
    """The names of those that a log may show, whole or a line of them: they are too short."""
    return sorted(
        name
        for name, value in secrets.items()
        if any(0 < len(line.strip()) < LEAST_MASKED for line in value.splitlines())
    )


def _needles(secrets: List[str]) -> List[bytes]:
    """What to look for: each secret, and each of its lines, as programs trim them; longest first.

    Not what is so short that it is in many a word.
    """
    texts = {text.strip() for secret in secrets for text in (secret, *secret.splitlines())}
    found = [text.encode("utf-8", "surrogateescape") for text in texts if len(text) >= LEAST_MASKED]
    return sorted(found, key=len, reverse=True)
