"""Machines that are launched to measure on: each is a run like any other, capped likewise."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mlbroker.broker.clouds import opener
from mlbroker.broker.errors import CloudError, InputError, MlbrokerError
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.ledger.state import PURPOSE
from mlbroker.broker.measure.agent_link import AgentLink
from mlbroker.broker.measure.result import MeasuredOn
from mlbroker.broker.measure.run_link import ReportLines, RunLink, machines_failed, run_spec
from mlbroker.broker.prices.shortages import lately
from mlbroker.broker.runs import launch
from mlbroker.broker.runs.admission import PolicyAdmission, admitted
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.broker.runs.zones import by_zone
from mlbroker.profiles.job import Job

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Judge

# Who measures reports before the kill switch of a short-lived machine acts: by this share of its
# life.
REPORT_BY = 0.8
# What the ledger and the policy are told of why.
REASON = "profile"
T = TypeVar("T")
Place = Sequence[LaunchOption]


@dataclass(frozen=True, slots=True)
class Carried(Generic[T]):
    """What was heard from a machine, which one it was, and what it cost. Of a machine that was
    `lost` nothing was."""

    heard: T | None
    lost: CloudError | None
    used: LaunchOption
    spent_usd: Decimal

    @property
    def where(self) -> MeasuredOn:
        """The machine, as a measurement names it."""
        used = self.used
        return MeasuredOn(
            config=used.instance_type,
            cloud=used.cloud,
            region=used.region,
            instance_type=used.instance_type,
            price_per_hour_usd=used.price_per_hour_usd,
        )


@dataclass(frozen=True, slots=True)
class Payer:
    """What all machines of one call share: the job and its limits, who pays, what is allowed."""

    job: Job
    state: Path
    user: str
    project: str | None
    judge: "Judge | None" = None
    say: Callable[[str], None] = lambda _: None

    def on_all(
        self, places: Sequence[Place], one: Callable[[Place, Decimal, Event], T]
    ) -> list[T | MlbrokerError]:
        """`one` for each of `places`, all at the same time; the money cap is shared out evenly.

        A place is a machine and those that may stand in for it, tried zone by zone where the
        cloud is set up.
        """
        if self.job.num_nodes > 1:
            raise InputError(
                "a job of several nodes cannot be measured by launching it",
                where=self.job.name,
                hint="measure it where it runs, and use `mlbroker profile import`",
            )
        share = self.job.profile.max_cost_usd / len(places)
        interrupted = Event()

        def guarded(place: Place) -> T | MlbrokerError:
            try:
                return one(place, share, interrupted)
            except MlbrokerError as error:
                return error

        with ThreadPoolExecutor(len(places)) as pool:
            try:
                return list(pool.map(guarded, places))
            except BaseException:
                interrupted.set()  # the runs are stopped and settled before the pool is left
                raise

    def on_one(
        self,
        place: Place,
        cap_usd: Decimal,
        interrupted: Event,
        program: str,
        spec_for: Callable[[float], Mapping[str, Any]],
        listen: Callable[[AgentLink, LaunchOption], T],
    ) -> Carried[T]:
        """Launch it, run `program` there as the spec for so many seconds says, and listen.

        The cap is reserved in the ledger before anything is launched, and the run is settled when
        this returns. CloudError where it was not launched or was out of money or time; what
        `listen` raises beside that, once the machine is gone.
        """
        job, opened = self.job, opener(self.state)
        now, ledger = Clock().now(), open_ledger(self.state)
        permitted = admitted(self.judge, place)
        candidates = by_zone(permitted, opened, lately(self.state, now), self.say)
        first = candidates[0]
        worst = launch.worst_case(first, cap_usd, opened(first.cloud).traits)
        folder = RunFolder.of(self.state, launch.new_run_id(now))
        secrets = launch.secret_values(job)
        told = spec_for(REPORT_BY * float(worst.lifetime_s))
        spec = run_spec(job, first.cloud, folder, program, told, secrets)
        order = self._order(folder, candidates, spec)
        heard, lost = None, None
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
            try:
                heard = listen(link, first)
            except CloudError as error:
                lost = error
            finally:
                link.close()
        run = ledger.run(order.run_id)
        if lost is not None and not machines_failed(run):
            raise lost  # not launched, or out of money or time: that says nothing of the machine
        used = order.candidate(run.attempt) if run is not None and run.attempts else first
        return Carried(heard, lost, used, run.spent_usd if run is not None else Decimal(0))

    def _order(
        self, folder: RunFolder, candidates: Sequence[LaunchOption], spec: Mapping[str, Any]
    ) -> Order:
        return Order(
            run_id=folder.path.name,
            job=f"{self.job.name}-profile",
            candidates=tuple(candidates),
            spec=dict(spec),
            secrets=self.job.secrets,
        )
