"""Runs one job under measurement and reports it in lines of JSON."""

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List, Optional

from . import machine, processes
from .gauges import Gauges
from .hooked import Deaf
from .output import CHUNK, OutputScanner
from .python_path import with_probe
from .step_files import EventFiles, ProgressFile, StepEvent

TICK_S = 0.05
SAMPLE_S = 0.5
PROBE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)


class TimeUp(BaseException):
    """The cap is reached. Raised by the alarm wherever the agent is, a regex included."""


class Asked(BaseException):
    """Whoever measures wants the job ended, or is gone."""


def main() -> int:
    """Read what to run, run it, report."""
    began = time.monotonic()
    spec = json.loads(_read_line(0))
    processes.adopt_orphans()
    facts = machine.describe(spec.get("bandwidth_s", 0.0))
    spec["gpus"] = len(facts["gpus"])
    _report(machine=facts)
    folder = tempfile.mkdtemp(prefix="mlbroker-probe-")
    try:
        Agent(spec, folder).run(began)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


class Agent:
    """One job: `setup` first, then `command`, both by bash in `cwd`."""

    def __init__(self, spec: Dict[str, Any], folder: str) -> None:
        self._spec = spec
        self._folder = folder
        self._env = _environment(spec, folder)
        self._events = EventFiles(folder)
        self._progress_file = ProgressFile(self._env["MLBROKER_PROGRESS_FILE"])
        self._scanner = OutputScanner(None)
        self._gauges = Gauges()
        self._deaf = Deaf(PROBE)
        self._selector = selectors.DefaultSelector()
        self._phase = "setup"
        self._exit: Optional[int] = None
        self._main_pid = 0
        self._started = time.monotonic()
        self._ended = 0.0
        self._sampled = 0.0

    def run(self, began: float) -> None:
        """Run to the job's end, the wish of whoever measures, or the cap counted from `began`."""
        grace_s = float(self._spec["grace_s"])
        signal.signal(signal.SIGALRM, _time_up)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _asked)
        left_s = self._spec["max_time_s"] - grace_s - (time.monotonic() - began)
        signal.setitimer(signal.ITIMER_REAL, max(0.05, left_s))
        ending, left = "ended", 0
        try:
            try:
                self._work()
                left = len(self._living())
            finally:
                self._end_all(grace_s)
        except TimeUp:
            ending = "cap"
        except Asked:
            ending = "asked"
        except BrokenPipeError:
            return  # whoever measured is gone, and so is the job
        self._tell_steps()
        _report(
            end=ending,
            phase=self._phase,
            exit=self._exit if ending == "ended" else None,
            left_behind=left,
            time_s=(self._ended if ending == "ended" else time.monotonic()) - self._started,
            output=self._scanner.tail,
            output_bytes=self._scanner.bytes,
        )

    def _work(self) -> None:
        if self._spec.get("control", True):
            self._selector.register(0, selectors.EVENT_READ, "control")
        self._selector.register(_child_alarm(), selectors.EVENT_READ, "child")
        if self._spec.get("setup"):
            self._run_phase(self._spec["setup"], None)
        if not self._exit:
            self._phase = "command"
            self._gauges.gpu.start(int(self._spec["gpus"]))
            if self._gauges.gpu.fileno is not None:
                self._selector.register(self._gauges.gpu.fileno, selectors.EVENT_READ, "gpu")
            command = with_probe(self._spec["command"], PROBE)
            self._run_phase(command, self._spec.get("progress"))

    def _end_all(self, grace_s: float) -> None:
        """Whatever happened: nothing of the job is left after this."""
        while True:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0)
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(number, _ignore)
                self._gauges.gpu.stop()
                processes.end_tree(os.getpid(), grace_s)
                return
            except (TimeUp, Asked):
                continue  # a signal that was on its way

    def _run_phase(self, script: str, progress: Optional[str]) -> None:
        self._scanner = OutputScanner(progress)
        self._started = time.monotonic()
        _report(start=self._phase)
        job = subprocess.Popen(
            ["bash", "-c", script],
            cwd=self._spec["cwd"],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=self._in_child,
        )
        assert job.stdout is not None
        self._exit = None
        self._main_pid = job.pid
        output = job.stdout.fileno()
        os.set_blocking(output, False)
        self._selector.register(output, selectors.EVENT_READ, "output")
        try:
            while self._exit is None:
                self._wait(output)
                self._collect()
                self._tell_steps()
            self._drain(output)
        finally:
            # Reaped by us; without this Popen would wait for a stranger of the same pid.
            job.returncode = 0 if self._exit is None else self._exit
            self._selector.unregister(output)
            job.stdout.close()

    def _in_child(self) -> None:
        processes.die_with_parent()
        cores = self._spec.get("cores")
        if cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])

    def _wait(self, output: int) -> None:
        for key, _ in self._selector.select(TICK_S):
            if key.data == "control":
                _obey()
            elif key.data == "gpu":
                self._read_gpu(key.fd)
            elif key.data == "child":
                os.read(key.fd, CHUNK)
            else:
                self._read_output(output)

    def _read_gpu(self, fd: int) -> None:
        chunk = os.read(fd, CHUNK)
        if chunk:
            self._gauges.gpu.feed(chunk)
        else:
            self._selector.unregister(fd)

    def _read_output(self, output: int) -> bool:
        try:
            chunk = os.read(output, CHUNK)
        except BlockingIOError:
            return False
        now = time.monotonic()
        for seen in self._scanner.feed(chunk):
            self._tell([StepEvent(seen.source, self._main_pid, now, seen.done, seen.total, 0.0)])
        noise = self._scanner.noise()
        if noise is not None:
            _report(note=["marker", self._main_pid, "noise_told", noise])
        if not chunk:
            time.sleep(TICK_S)  # closed by the job, which lives on without an output
        return bool(chunk)

    def _drain(self, output: int) -> None:
        """What was printed last, without waiting for children that still hold the pipe."""
        deadline = time.monotonic() + 1.0
        while self._read_output(output) and time.monotonic() < deadline:
            pass
        if self._scanner.bytes and not self._scanner.tail.endswith("\n"):
            self._scanner.feed(b"\n")

    def _collect(self) -> None:
        ended, cpu_s, peak = processes.reap()
        self._gauges.reaped(cpu_s, peak)
        if self._main_pid in ended:
            status = ended[self._main_pid]
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
            self._exit = code
            self._ended = time.monotonic()
        now = time.monotonic()
        if now - self._sampled >= SAMPLE_S or self._exit is not None:
            self._sampled = now
            living = self._living()
            _report(sample=self._gauges.sample(living), time_s=now - self._started)
            for why in self._deaf.among(living) if self._phase == "command" else ():
                _report(note=["agent", 0, "not_hooked", why])

    def _living(self) -> List[processes.Process]:
        return processes.descendants(os.getpid(), self._gauges.gpu.pid)

    def _tell_steps(self) -> None:
        try:
            steps, notes = self._events.read()
        except OSError:
            return
        self._tell(steps + self._progress_file.read(time.monotonic()))
        for note in notes:
            _report(note=list(note))

    def _tell(self, steps: List[StepEvent]) -> None:
        if steps:
            _report(
                steps=[
                    [s.source, s.pid, s.time_s - self._started, s.done, s.total, s.waited_s]
                    for s in steps
                ]
            )


def _environment(spec: Dict[str, Any], folder: str) -> Dict[str, str]:
    env = dict(os.environ)
    env.update(spec.get("env") or {})
    env["MLBROKER_PROBE_DIR"] = folder
    env["MLBROKER_PROGRESS_FILE"] = os.path.join(folder, "progress")
    env["PYTHONUNBUFFERED"] = "1"  # a step that waits in a buffer has a wrong time
    path = env.get("PYTHONPATH")
    env["PYTHONPATH"] = PROBE + (os.pathsep + path if path else "")
    if spec.get("cores"):
        env.update({name: str(spec["cores"]) for name in THREAD_VARIABLES})
    return env


def _read_line(fd: int) -> str:
    """One line, not a byte more: what follows belongs to the loop that waits for `fd`."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(fd, 1)
        if not byte:
            break
        line += byte
    return line.decode("utf-8")


def _obey() -> None:
    os.read(0, 4096)  # any word means stop, and so does the end of the input
    raise Asked


def _child_alarm() -> int:
    """A pipe that can be read as soon as a child ends, so that the end has an exact time."""
    receiver, sender = os.pipe()
    os.set_blocking(receiver, False)
    os.set_blocking(sender, False)
    signal.signal(signal.SIGCHLD, _ignore)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    return receiver


def _ignore(*_: object) -> None:
    """The wake-up itself is all that is wanted."""


def _time_up(*_: object) -> None:
    raise TimeUp


def _asked(*_: object) -> None:
    raise Asked


def _report(**facts: Any) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
