"""What `mlbroker ui` shows: the runs, this month's report, and the plan of a job file."""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.plan import PlanQuery, plan
from mlbroker.broker.app.report import known_runs, period, report
from mlbroker.broker.app.watch_budget import alerts_now, alerts_of
from mlbroker.broker.clouds import opener
from mlbroker.broker.files.job_file import load_job
from mlbroker.broker.judge import policy_of
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.report.page import Served
from mlbroker.broker.report.report import ReportQuery
from mlbroker.broker.runs.summary import live_summary
from mlbroker.broker.ui.site import Maker, Site

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Policy

# Machines are asked no more often than that.
ASK_EVERY = timedelta(seconds=10)
RUNS, REPORT, PLAN = "", "report", "plan"


def site_of(state: Path, job: Path | None, policy: Path | None, listener: Listener) -> Site:
    """All pages, on the ledger of this state folder."""
    shown = _Shown(state, job, policy, listener)
    makers: dict[str, Maker] = {RUNS: shown.runs, REPORT: shown.report}
    names = {RUNS: "Runs", REPORT: "This month"}
    if job is not None:
        makers[PLAN], names[PLAN] = shown.plan, f"Plan of {job.name}"
    return Site(makers, names, shown.version)


@dataclass
class _Shown:
    state: Path
    job: Path | None
    policy_file: Path | None
    listener: Listener
    live: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked_at: datetime | None = None

    def version(self) -> str:
        """Of ledger, machines, and the job file; the day, as the month's forecast is of it."""
        now = datetime.now(UTC)
        if self.asked_at is None or now - self.asked_at >= ASK_EVERY:
            self.asked_at = now
            self.live = self._ask(now)
        seq, head = open_ledger(self.state).head()
        changed = _changed(self.job) if self.job is not None else 0
        return f"{seq} {head} {self.live} {changed} {now:%Y-%m-%d}"

    def runs(self, served: Served) -> str:
        from mlbroker.broker.report.runs_page import runs_page

        now = datetime.now(UTC)
        idle = {run_id: row["idle_s"] for run_id, row in self.live.items() if row["idle_s"]}
        alerts = alerts_now(self._policy(), idle, self.state, now)
        return runs_page(known_runs(self.state, now), self.live, alerts, now, served)

    def report(self, served: Served) -> str:
        from mlbroker.broker.report.report_page import report_page

        now, policy = datetime.now(UTC), self._policy()
        made = report(ReportQuery(*period(None, None, now)), policy, self.state, now)
        return report_page(made, alerts_of(made.caps, made.open_runs, {}, policy, now), served)

    def plan(self, served: Served) -> str:
        from mlbroker.broker.report.plan_page import plan_page

        assert self.job is not None
        query = PlanQuery(load_job(self.job).job, self.job, top=0, explain=True)
        planned = plan(query, self.state, self.listener)
        return plan_page(planned.plan, planned.book, served)

    def _policy(self) -> "Policy | None":
        return policy_of(self.policy_file)

    def _ask(self, now: datetime) -> dict[str, dict[str, Any]]:
        """What the machines of open runs say; one that does not answer says so in its state."""
        opened = opener(self.state)
        open_runs = [run for run in open_ledger(self.state).runs() if not run.settled]
        return {run.run_id: live_summary(run, opened, self.state, now) for run in open_runs}


def _changed(file: Path) -> int:
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0
