"""What `mlbroker ui` shows: the runs, this month's report, and the plan of a job file."""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.plan import PlanQuery, plan
from mlbroker.broker.app.report import known_runs, period, report
from mlbroker.broker.app.watch_budget import alerts_now, alerts_of, idle_of, live_runs
from mlbroker.broker.files.job_file import load_job
from mlbroker.broker.home import policy_path
from mlbroker.broker.judge import policy_of
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.report.page import Served
from mlbroker.broker.report.report import ReportQuery
from mlbroker.broker.ui.site import Maker, Site

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Policy

RUNS, REPORT, PLAN = "", "report", "plan"


def site_of(state: Path, job: Path | None, policy: Path | None, listener: Listener) -> Site:
    """All pages, on the ledger of this state folder."""
    shown = _Shown(state, job, policy, listener)
    makers: dict[str, Maker] = {RUNS: shown.runs, REPORT: shown.report}
    names = {RUNS: "Runs", REPORT: "This month"}
    if job is not None:
        makers[PLAN], names[PLAN] = shown.plan, f"Plan of {job.name}"
    return Site(makers, names, shown.version, shown.ask)


@dataclass
class _Shown:
    state: Path
    job: Path | None
    policy_file: Path | None
    listener: Listener
    live: list[dict[str, Any]] = field(default_factory=list)

    def version(self) -> str:
        """Of the ledger, of what machines said last, and of the files that pages are made of; of
        the day too, as the month's forecast is of it.
        """
        policy = policy_path(Path("job.yaml"), self.policy_file)
        files = (self.job, policy, self.state / "prices", self.state / "nodes.yaml")
        changed = [_changed(file) for file in files if file is not None]
        seq, head = open_ledger(self.state).head()
        return f"{seq} {head} {self.live} {changed} {datetime.now(UTC):%Y-%m-%d}"

    def ask(self) -> None:
        """What the machines of open runs say now."""
        self.live = live_runs(self.state, datetime.now(UTC))

    def runs(self, served: Served) -> str:
        from mlbroker.broker.report.runs_page import runs_page

        now = datetime.now(UTC)
        alerts = alerts_now(self._policy(), idle_of(self.live), self.state, now)
        live = {row["run_id"]: row for row in self.live}
        return runs_page(known_runs(self.state, now), live, alerts, now, served)

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


def _changed(file: Path) -> int:
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0
