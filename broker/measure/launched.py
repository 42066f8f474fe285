"""Measures on machines that are launched for it: each is a run like any other, capped likewise."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from mlbroker.broker.clouds import opener
from mlbroker.broker.errors import CloudError, InputError, MlbrokerError
from mlbroker.broker.evidence import facts
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.ledger.state import PURPOSE
from mlbroker.broker.measure.profile import Profiled, agent_spec
from mlbroker.broker.measure.result import MeasuredOn, died, to_measurement
from mlbroker.broker.measure.run_link import ReportLines, RunLink, machines_failed, run_spec
from mlbroker.broker.measure.watch import Observation, watch
from mlbroker.broker.prices.shortages import lately
from mlbroker.broker.runs import launch
from mlbroker.broker.runs.admission import PolicyAdmission, admitted
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.broker.runs.zones import by_zone
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.stepping.stopping import StopRule

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Judge

# An agent reports before the kill switch of a short-lived machine acts: by this share of its life.
REPORT_BY = 0.8
# What the ledger and the policy are told of why.
REASON = "profile"
Show = Callable[[LaunchOption, Observation], None]


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
        known = facts.of(self.job, measured=True)
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
        now, ledger = Clock().now(), open_ledger(self.state)
        permitted = admitted(self.judge, place)
        candidates = by_zone(permitted, opened, lately(self.state, now), self.say)
        first = candidates[0]
        worst = launch.worst_case(first, cap_usd, opened(first.cloud).traits)
        folder = RunFolder.of(self.state, launch.new_run_id(now))
        limit_s = min(job.profile.max_time_s, REPORT_BY * float(worst.lifetime_s))
        secrets = launch.secret_values(job)
        spec = run_spec(job, first.cloud, folder, agent_spec(job, limit_s), secrets)
        order = self._order(folder, candidates, spec)
        with folder.carried():
            with launch.nothing_stays(folder):
                launch.reserve(
                    ledger,
                    folder,
                    order,
                    now,
                    cap_usd=cap_usd,
                    worst_usd=worst.usd,
                    user=self.user,
                    project=self.project,
                    facts={"fingerprint": job.fingerprint(), "reason": REASON, PURPOSE: "profile"},
                    admission=PolicyAdmission(self.judge, candidates, order.job, worst.usd),
                )
            lines = ReportLines()
            driver = Driver(ledger, opened, Clock(), folder, lines, secrets)
            link = RunLink(ledger, driver, order.run_id, lines, interrupted)
            seen, lost = self._watch(link, first)
        run = ledger.run(order.run_id)
        if lost is not None and not machines_failed(run):
            raise lost  # not launched, or out of money or time: that says nothing of the machine
        used = order.candidate(run.attempt) if run is not None and run.attempts else first
        row = self._row(used, seen, lost, known)
        return Profiled(row, seen, spent_usd=run.spent_usd if run is not None else Decimal(0))

    def _order(
        self, folder: RunFolder, candidates: Sequence[LaunchOption], spec: Mapping[str, Any]
    ) -> Order:
        job = self.job
        return Order(
            run_id=folder.path.name,
            job=f"{job.name}-profile",
            candidates=tuple(candidates),
            spec=dict(spec),
            secrets=job.secrets,
        )

    def _row(
        self,
        used: LaunchOption,
        seen: Observation,
        lost: CloudError | None,
        known: Mapping[str, str],
    ) -> Measurement:
        where = MeasuredOn(
            config=used.instance_type,
            cloud=used.cloud,
            region=used.region,
            instance_type=used.instance_type,
            price_per_hour_usd=used.price_per_hour_usd,
        )
        when = datetime.now(UTC)
        if lost is not None:
            return died(self.job, where, when, known, str(lost))
        return to_measurement(self.job, seen, where, when, known)

    def _watch(self, link: RunLink, at: LaunchOption) -> tuple[Observation, CloudError | None]:
        try:
            return watch(self.job, link, self.rule, lambda seen: self.show(at, seen)), None
        except CloudError as error:
            return Observation(), error
        finally:
            link.close()
