"""Runs set-up and job on their machine, and ends them at the kill time whoever else is alive."""

import gzip
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional, Sequence

from . import box as files
from .checkpoints import Saver, restore
from .figures import Figures
from .output import Output
from .processes import adopt_orphans, boot_clock, end_all, members, reap, signal_all
from .python_path import with_probe
from .step_count import StepCount
from .tar_reader import BadArchive
from .unpacking import unpack
from .usage import Usage

TICK_S = 0.05
HEARTBEAT_S = 1.0
# Time for the job to save itself between SIGTERM and the kill, never more than a tenth of its life.
GRACE_S = 10.0
DRAIN_S = 1.0
# What Slurm signals together, it signals within milliseconds.
SIGNALLED_WITHIN_S = 0.1
DISK_TICK_S = 0.02

# Nobody can ask it to stop any more, nor hear how it ended.
_VANISHED = "vanished"
_FAREWELL = {
    files.FOLLOWS: "another machine of the run failed: ending the job",
    "capped": "the budget is used up: ending the job",
    "stopped": "asked to stop: ending the job",
    "idle": "the job does nothing any more: ending it",
    "adapt": "ending the job, which goes on from its checkpoint with another batch or machine",
    "yield": "another run has this place first: ending the job, which goes on from its checkpoint",
    _VANISHED: "the run's folder is gone: ending the job",
}


class Ending(NamedTuple):
    """Why it ended; the exit code is None when the job did not end by itself."""

    why: str
    exit_code: Optional[int] = None
    detail: Optional[str] = None


class Supervisor:
    """One run on this machine, from unpacking to the last dead child."""

    def __init__(
        self,
        box: str,
        spec: Dict[str, Any],
        secrets: Dict[str, str],
        began: float,
        slots: Sequence[int] = (),
    ) -> None:
        self._box = box
        self._spec = spec
        self._secrets = secrets
        self._began = began
        self._slots = slots
        self._kill_at = began + spec["lifetime_s"]
        self._grace_s = min(GRACE_S, spec["lifetime_s"] * 0.1)
        self._workdir = spec.get("workdir") or os.path.join(box, files.WORK)
        self._marker = f"MLBROKER_TOKEN={spec['token']}".encode()
        self._phase = "preparing"
        self._job_pid = 0
        self._status_at = 0.0
        self._asked: Optional[str] = None
        self._saver: Optional[Saver] = None
        self._ending: Optional[Ending] = None
        log = open(os.path.join(box, files.LOG), "ab", buffering=0)  # noqa: SIM115  # for life
        self._steps = StepCount(
            os.path.join(box, files.STEPS), spec.get("progress"), bool(spec.get("noise"))
        )
        self._output = Output(log, list(secrets.values()), self._steps.read_line)
        self._usage = Usage(self._members, self._workdir)
        self._figures = Figures(self._usage, self._steps.training)

    def run(self) -> None:
        """Do it all; the end record is there once nobody of the run is left alive."""
        adopt_orphans()
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        for number in (signal.SIGINT, signal.SIGHUP):
            # A handler, unlike SIG_IGN, is not inherited by the job.
            signal.signal(number, lambda *_: None)
        try:
            ending = self._work()
        except (OSError, ValueError, KeyError) as error:
            failed = Ending("machine_failed", None, f"{type(error).__name__}: {error}")
            ending = self._ending or failed
        self._usage.stop()
        self._phase = "ending"
        end_all(self._marker, mine=True, box=self._box)
        elapsed_s = boot_clock() - self._began
        self._output.tick(final=True)
        self._steps.look(final=True)
        if files.vanished(self._box):
            return
        # Before its files are saved: whatever becomes of them, the job is not run again.
        self._write_end(ending, elapsed_s)
        if self._saver:
            self._saver.finish(within_s=max(0.5, min(60.0, self._kill_at - boot_clock())))
            self._say_saved()
        self._write_status(force=True)

    def _write_end(self, ending: Ending, elapsed_s: float) -> None:
        self._note_step()
        files.write_end(
            self._box,
            *ending,
            elapsed_s=elapsed_s,
            step=self._steps.step,
            steps=self._steps.steps,
            counted_by=self._steps.counted_by,
            log_bytes_dropped=self._output.dropped_bytes,
            figures=self._figures.told(boot_clock()),
        )

    def _work(self) -> Ending:
        try:
            self._prepare()
        except BadArchive as error:
            # On another machine it is no better.
            return Ending("setup_failed", None, f"what was to be unpacked is damaged: {error}")
        self._usage.start()
        for phase, script in (
            ("setup", self._spec.get("setup")),
            ("running", self._spec["command"]),
        ):
            if script is None:
                continue
            self._phase = phase
            # However long it was set up before: it has done nothing for no time yet.
            self._usage.touch()
            if phase == "running":
                now = boot_clock()
                self._figures.command_begins(now, now - self._began)
            self._write_status(force=True)
            ending = self._script(phase, script)
            if ending.why != "finished":
                if phase == "setup" and ending.why == "failed":
                    return Ending("setup_failed", ending.exit_code)
                return ending
        return Ending("finished", 0)

    def _prepare(self) -> None:
        self._keep_to_slot()
        for name in (files.OUTPUTS, files.STEPS):
            os.makedirs(os.path.join(self._box, name), exist_ok=True)
        os.makedirs(self._workdir, exist_ok=True)
        if self._spec.get("inputs"):
            os.makedirs(os.path.join(self._workdir, self._spec["inputs"]), exist_ok=True)
        bundle = os.path.join(self._box, files.BUNDLE)
        if os.path.exists(bundle):
            with gzip.open(bundle) as stream:
                left_out = unpack(stream, self._workdir, links=True).left_out
            if left_out:
                self._output.say(f"left out of the work directory: {left_out}")
        checkpoint = self._spec.get("checkpoint")
        if checkpoint:
            folder = os.path.join(self._workdir, checkpoint["path"])
            for line in restore(self._box, folder, checkpoint["path"], self._is_repeated()):
                self._output.say(line)
            self._saver = Saver(self._box, folder, checkpoint["every_s"])
            self._figures.resumed = any(names for _, _, names in os.walk(folder))

    def _is_repeated(self) -> bool:
        return str((self._spec.get("facts") or {}).get("MLBROKER_ATTEMPT", "1")) != "1"

    def _keep_to_slot(self) -> None:
        """Stay on the processors of this job's slots, where the machine has more of them."""
        slots = self._spec.get("slots")
        if slots is None or not self._slots or slots["count"] < 2:
            return
        size = int(slots["vcpus"])
        here = sorted(os.sched_getaffinity(0))
        if size * slots["count"] <= len(here):
            mine = [here[slot * size : (slot + 1) * size] for slot in self._slots]
            os.sched_setaffinity(0, [core for cores in mine for core in cores])

    def _script(self, phase: str, text: str) -> Ending:
        name = files.RUNNING if phase == "running" else files.SETUP_SCRIPT
        path = os.path.join(self._box, name)
        if phase == "running":
            text = with_probe(text, self._probe)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        # What the job writes is later than this file, also where a disk's clock ticks slowly.
        time.sleep(DISK_TICK_S)
        shell = shutil.which("bash") or "/bin/sh"
        job = subprocess.Popen(
            [shell, path],
            cwd=self._workdir,
            env=self._environment(phase),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._job_pid = job.pid
        assert job.stdout is not None
        with job.stdout as pipe:
            os.set_blocking(pipe.fileno(), False)
            ending = self._watch(job, pipe.fileno())
            self._figures.command_ends(boot_clock())
            if phase == "running" and ending.why in ("finished", "failed"):
                self._ending = ending
                self._steps.look(final=True)
                self._write_end(ending, boot_clock() - self._began)
                # Children left behind hold no claim to the machine once the job itself is over.
                end_all(self._marker, mine=True, box=self._box)
            self._drain(pipe.fileno(), until=time.monotonic() + DRAIN_S)
        return ending

    def _watch(self, job: "subprocess.Popen[bytes]", pipe: int) -> Ending:
        """Until the job ends, is asked to, or must; the kill itself happens here."""
        asked_at: Optional[float] = None
        why = "capped"
        while True:
            self._pump(pipe)
            code = job.poll()
            now = boot_clock()
            if asked_at is not None:
                gone = code is not None and not self._members()
                if gone or now >= min(asked_at + self._grace_s, self._kill_at):
                    end_all(self._marker, mine=True, box=self._box)
                    job.wait()
                    return Ending(why)
            elif code is not None:
                # Who signals the supervisor may signal the job as well, and the job first; a job
                # that saves itself then ends well, and is not over.
                if not self._asked:
                    time.sleep(SIGNALLED_WITHIN_S)
                if self._asked:
                    return Ending(self._asked)
                code = 128 - code if code < 0 else code
                return Ending("finished", 0) if code == 0 else Ending("failed", code)
            else:
                asked = self._must_stop(now)
                if asked is not None:
                    why, asked_at = asked, now
                    self._output.say(_FAREWELL.get(why, f"stopping: {why}"))
                    signal_all(self._members(), signal.SIGTERM)
            self._beat()

    def _must_stop(self, now: float) -> Optional[str]:
        if now >= self._kill_at - self._grace_s:
            return "capped"
        if files.vanished(self._box):
            return _VANISHED
        if self._asked:
            return self._asked
        stop = files.read(self._box, files.STOP)
        if stop is not None:
            return stop.strip() or "stopped"
        idle = self._spec.get("stop_when_idle_s")
        if idle and self._phase == "running" and self._usage.idle_s >= idle:
            return "idle"
        return None

    def _pump(self, pipe: int) -> None:
        readable, _, _ = select.select([pipe], [], [], TICK_S)
        if readable:
            data = _read(pipe)
            if data:
                self._output.feed(data)
            else:
                # The job closed its output but lives on: do not spin on the end of file.
                time.sleep(TICK_S)
        self._output.tick()
        if self._steps.look():
            self._usage.touch()

    def _drain(self, pipe: int, until: float) -> None:
        while time.monotonic() < until:
            data = _read(pipe)
            if not data:
                break
            self._output.feed(data)
        self._output.tick(final=True)

    def _note_step(self) -> None:
        self._figures.stepped(self._steps.step, self._steps.steps, boot_clock())

    def _beat(self) -> None:
        reap(but=self._job_pid)
        self._note_step()
        if self._saver:
            self._saver.tick()
            self._say_saved()
        self._write_status()

    def _say_saved(self) -> None:
        while self._saver and self._saver.notes:
            self._output.say(self._saver.notes.pop(0))
        if self._saver and self._saver.saved_at is not None:
            self._figures.saved(time.time() - self._saver.saved_at, boot_clock())

    def _write_status(self, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._status_at < HEARTBEAT_S:
            return
        self._status_at = now
        status = {
            "phase": self._phase,
            "at": time.time(),
            "elapsed_s": boot_clock() - self._began,
            "step": self._steps.step,
            "steps": self._steps.steps,
            "counted_by": self._steps.counted_by,
            "cpu": self._usage.cpu,
            "gpu": self._usage.gpu,
            "idle_s": self._usage.idle_s,
            "checkpoint_at": self._saver.saved_at if self._saver else None,
            "checkpoint_fault": self._saver.fault if self._saver else None,
            "figures": self._figures.told(boot_clock()),
        }
        try:
            files.write_json(self._box, files.STATUS, status, durable=False)
        except OSError:
            # A full disk costs the heartbeat, not the job.
            return

    @property
    def _probe(self) -> str:
        """The hooks' folder, which travels in this archive; Python reads modules from inside it."""
        return str(Path(__file__).absolute().parents[2] / files.PROBE)

    def _environment(self, phase: str) -> Dict[str, str]:
        spec = self._spec
        environment = dict(os.environ)
        # On the client's own machine: the ledger is none of the job's business.
        environment.pop("MLBROKER_LEDGER", None)
        environment.update({"PYTHONUNBUFFERED": "1"})
        environment.update(spec.get("envs") or {})
        own = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([self._probe] + ([own] if own else []))
        if phase == "running":  # the bars of a set-up are no steps of the job
            environment.update(self._steps.variables())
        environment.update(self._secrets)
        environment.update(spec.get("facts") or {})
        slots = spec.get("slots")
        if slots and slots["gpus"] and self._slots:
            size = slots["gpus"]
            visible = [gpu for n in self._slots for gpu in range(n * size, (n + 1) * size)]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, visible))
        environment["MLBROKER_TOKEN"] = spec["token"]
        environment["MLBROKER_OUTPUT_DIR"] = os.path.join(self._box, files.OUTPUTS)
        if spec.get("inputs"):
            environment["MLBROKER_INPUTS"] = os.path.join(self._workdir, spec["inputs"])
        if spec.get("checkpoint"):
            environment["MLBROKER_CHECKPOINT_DIR"] = os.path.join(
                self._workdir, spec["checkpoint"]["path"]
            )
        return environment

    def _members(self) -> "set[int]":
        return members(self._marker, mine=True, box=self._box)

    def _ask_to_stop(self, *_: Any) -> None:
        self._asked = "stopped"


def _read(pipe: int) -> bytes:
    """What is there; nothing at its end too."""
    try:
        return os.read(pipe, 65536)
    except BlockingIOError:
        return b""
