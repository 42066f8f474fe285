"""Measures on machines that are launched for it: each is a run like any other, capped likewise."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from mlbroker.broker.clouds import opener
from mlbroker.broker.errors import CloudError, InputError, MlbrokerError
from mlbroker.broker.ledger import IllegalStep, Ledger, Run, open_ledger
from mlbroker.broker.measure import facts
from mlbroker.broker.measure.agent_link import PROBE_FOLDER
from mlbroker.broker.measure.bundle import FOLDER, SPEC, pack
from mlbroker.broker.measure.profile import Profiled, agent_spec
from mlbroker.broker.measure.result import MeasuredOn, died, to_measurement
from mlbroker.broker.measure.watch import Observation, watch
from mlbroker.broker.prices.shortages import lately
from mlbroker.broker.runs import launch
from mlbroker.broker.runs.admission import PolicyAdmission, admitted
from mlbroker.broker.runs.clock import WallClock
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.broker.runs.view import NoView
from mlbroker.broker.runs.zones import by_zone
from mlbroker.profiles.job import Job
from mlbroker.profiles.stepping.stopping import StopRule

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Judge

# A machine that dies is replaced once; a second death is an answer. Places without one are none.
MAX_MACHINES = 2
# How a run, or an attempt of it, ends when its machine is to blame.
FAULTS = {"lost", "preempted", "machine_failed", "failed"}
# An agent reports before the kill switch of a short-lived machine acts: by this share of its life.
REPORT_BY = 0.8
# What the ledger and the policy are told of why.
REASON = "profile"
Show = Callable[[LaunchOption, Observation], None]


class RunLink:
    """An agent that a run carries: its reports are the run's output."""

    def __init__(
        self, ledger: Ledger, driver: Driver, run_id: str, lines: "_Lines", interrupted: Event
    ) -> None:
        self._ledger = ledger
        self._driver = driver
        self._run_id = run_id
        self._lines = lines
        self._interrupted = interrupted
        self._run: Run | None = None

    def messages(self) -> Iterator[Mapping[str, Any]]:
        """Reports until the run is settled; `restart` when it goes on on another machine."""
        attempt = 1
        while self._run is None or not self._run.settled:
            self._run = self._driver.advance(self._run_id)
            if self._run.attempts and self._run.attempt.number > attempt:
                attempt = self._run.attempt.number
                yield {"restart": attempt}
                if sum(1 for a in self._run.attempts if a.machine_id) >= MAX_MACHINES:
                    self.stop()
            if self._interrupted.is_set():
                self.stop()
            yield from self._lines.take()
            yield {}

    def stop(self) -> None:
        """Leave the wish in the ledger, as `mlbroker stop` does."""
        with suppress(IllegalStep):
            wish = {"why": "stopped", "by": "profile"}
            self._ledger.append(datetime.now(UTC), self._run_id, "stop_requested", wish)

    def close(self) -> None:
        """Settle the run if it is not."""
        if self._run is None or not self._run.settled:
            self.stop()
            self._run = self._driver.drive(self._run_id)

    def failure(self) -> CloudError:
        """What became of the machine."""
        run = self._run
        last = run.attempts[-1] if run is not None and run.attempts else None
        outcome = run.outcome if run is not None else "never started"
        return CloudError(
            f"{outcome}: {last.detail if last and last.detail else 'the agent never answered'}"
        )


class _Lines(NoView):
    """Takes the run's output apart into reports."""

    def __init__(self) -> None:
        self._pending = b""
        self._messages: list[Mapping[str, Any]] = []

    def output(self, data: bytes) -> None:
        """Some bytes of the log."""
        lines = (self._pending + data).split(b"\n")
        self._pending = lines.pop()
        for line in lines:
            with suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict):
                    self._messages.append(message)

    def take(self) -> list[Mapping[str, Any]]:
        """The reports since the last call."""
        taken, self._messages = self._messages, []
        return taken


@dataclass(frozen=True, slots=True)
class Campaign:
    """What all machines of one call share: the job, its limits, who pays, and what is allowed."""

    job: Job
    rule: StopRule
    state: Path
    user: str
    project: str | None
    judge: "Judge | None" = None
    show: Show = lambda *_: None
    say: Callable[[str], None] = lambda _: None

    def measure(self, places: Sequence[Sequence[LaunchOption]]) -> list[Profiled | MlbrokerError]:
        """One measurement for each of `places`, all at the same time, under the job's own limits.

        A place is a machine and those that may stand in for it, tried zone by zone where the
        cloud is set up. The money cap is shared out evenly; each share is reserved in the ledger
        before anything is launched.
        """
        if self.job.num_nodes > 1:
            raise InputError(
                "a job of several nodes cannot be measured by launching it",
                where=self.job.name,
                hint="measure it where it runs, and use `mlbroker profile import`",
            )
        known = facts.of(self.job)
        share = self.job.profile.max_cost_usd / len(places)
        interrupted = Event()

        def one(place: Sequence[LaunchOption]) -> Profiled | MlbrokerError:
            try:
                return self._one(place, share, known, interrupted)
            except MlbrokerError as error:
                return error

        with ThreadPoolExecutor(len(places)) as pool:
            try:
                return list(pool.map(one, places))
            except BaseException:
                interrupted.set()  # the runs are stopped and settled before the pool is left
                raise

    def _one(
        self,
        place: Sequence[LaunchOption],
        cap_usd: Decimal,
        known: Mapping[str, str],
        interrupted: Event,
    ) -> Profiled:
        job, opened = self.job, opener(self.state)
        now, ledger = WallClock().now(), open_ledger(self.state)
        permitted = admitted(self.judge, place)
        candidates = by_zone(permitted, opened, lately(self.state, now), self.say)
        first = candidates[0]
        worst = launch.worst_case(first, cap_usd, opened(first.cloud).traits)
        folder = RunFolder.of(self.state, launch.new_run_id(now))
        limit_s = min(job.profile.max_time_s, REPORT_BY * float(worst.lifetime_s))
        secrets = launch.secret_values(job)
        order = Order(
            run_id=folder.path.name,
            job=f"{job.name}-profile",
            candidates=candidates,
            spec=_run_spec(job, first.cloud, folder, agent_spec(job, limit_s), secrets),
            secrets=job.secrets,
            disk_gb=max(option.disk_gb for option in job.resources),
            image_id=job.resources[0].image_id,
        )
        with folder.carried():
            launch.reserve(
                ledger,
                folder,
                order,
                now,
                cap_usd=cap_usd,
                worst_usd=worst.usd,
                user=self.user,
                project=self.project,
                facts={"fingerprint": job.fingerprint(), "reason": REASON},
                admission=PolicyAdmission(self.judge, candidates, order.job, now, worst.usd),
            )
            lines = _Lines()
            driver = Driver(ledger, opened, WallClock(), folder, lines, secrets)
            link = RunLink(ledger, driver, order.run_id, lines, interrupted)
            seen, lost = self._watch(link, first)
        run = ledger.run(order.run_id)
        if lost is not None and not machines_failed(run):
            raise lost  # not launched, or out of money or time: that says nothing of the machine
        used = order.candidate(run.attempt) if run is not None and run.attempts else first
        where = MeasuredOn(
            config=used.instance_type,
            cloud=used.cloud,
            region=used.region,
            instance_type=used.instance_type,
            price_per_hour_usd=used.price_per_hour_usd,
        )
        when = datetime.now(UTC)
        row = (
            to_measurement(job, seen, where, when, known)
            if lost is None
            else died(job, where, when, known, str(lost))
        )
        spent_usd = run.spent_usd if run is not None else Decimal(0)
        return Profiled(row, seen, spent_usd=spent_usd)

    def _watch(self, link: RunLink, at: LaunchOption) -> tuple[Observation, CloudError | None]:
        try:
            return watch(self.job, link, self.rule, lambda seen: self.show(at, seen)), None
        except CloudError as error:
            return Observation(), error
        finally:
            link.close()


def machines_failed(run: Run | None) -> bool:
    """Whether it was its machines that did not work."""
    if run is None:
        return False
    deaths = [attempt for attempt in run.attempts if attempt.machine_id and attempt.why in FAULTS]
    return run.outcome in FAULTS or len(deaths) >= MAX_MACHINES


def _run_spec(
    job: Job, cloud: str, folder: RunFolder, spec: Mapping[str, Any], secrets: Mapping[str, str]
) -> dict[str, Any]:
    """The agent as the job of a run. Its own command line never meets the user's words."""
    here = job.workdir or str(Path.cwd())
    spec = {**spec, "control": False}
    if cloud == "local":
        # As a run on this machine does: in the job's own folder, with all that lies there.
        path = folder.path / SPEC
        folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(json.dumps(spec) + "\n", encoding="utf-8")
        python, probe = shlex.quote(sys.executable), shlex.quote(str(PROBE_FOLDER))
        command = f"cd {probe} && exec {python} -m mlbroker_agent < {shlex.quote(str(path))}"
    else:
        pack(Path(here), {**spec, "cwd": ".."}, folder.bundle, secrets)
        command = f"cd {FOLDER} && exec python3 -m mlbroker_agent < {SPEC}"
    return {
        "setup": None,
        "command": command,
        "envs": {},
        "workdir": here if cloud == "local" else None,
        "progress": None,
        "checkpoint": None,
        "stop_when_idle_s": None,
    }
