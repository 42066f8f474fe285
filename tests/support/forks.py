"""Client processes that can be killed: forks, which cost milliseconds where a start costs 100."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable


def in_fork(work: Callable[[], None]) -> int:
    """Run `work` in a process of its own; its id."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(pid: int) -> int:
    """Its exit code; the negative signal where one killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_after(pid: int, seconds: float) -> int:
    """Give it so long, then kill -9; returns as `wait`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)
    return wait(pid)


def die() -> None:
    """kill -9 oneself: nothing is flushed, nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)
