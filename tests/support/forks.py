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


def count_calls(work: Callable[[], None]) -> int:
    """How often Python enters or leaves a function while this is done."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def doom(calls: int) -> None:
    """This process is to die where a function is entered or left for that time: on a fast machine
    and on a slow one, between any two statements of a library.
    """
    left = calls

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            die()

    sys.setprofile(count)


def die() -> None:
    """kill -9 oneself: nothing is flushed, nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)
