"""The request that a client does not survive: killed before it takes effect, or right after."""

import os
import signal
from dataclasses import dataclass


@dataclass
class Doom:
    """A loopback cloud asks it at each of the launcher's requests. `left` counts down to the last.

    With `left` None nobody dies.
    """

    victim: int = 0
    left: int | None = None
    before: bool = True

    def strikes(self, is_launcher: bool) -> bool:
        """Whether this request is the last one."""
        if self.left is None or not is_launcher:
            return False
        self.left -= 1
        if self.left > 0:
            return False
        self.left = None
        return True

    def kill(self) -> None:
        """kill -9, as nothing else leaves no chance to clean up."""
        os.kill(self.victim, signal.SIGKILL)
