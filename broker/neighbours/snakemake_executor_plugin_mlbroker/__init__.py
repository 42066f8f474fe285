"""Snakemake's executor `mlbroker`: each job of a workflow is a run, all under one cap.

Found by Snakemake by this package's name (snakemake-interface-executor-plugins 9). Jobs work in the
workflow's own folder, so that the place must see it: this machine, or a node or cluster that shares
its disk.
"""

import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from shlex import quote
from types import FrameType
from typing import Any, Optional

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import (
    CommonSettings,
    ExecutorSettingsBase,
    SharedFSUsage,
)

from mlbroker.broker.app.workflow import Workflow, WorkflowJob, WorkflowPlace
from mlbroker.broker.cli.attendants import Attendants
from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.files.values import parse_money_usd, parse_price_usd
from mlbroker.broker.home import home
from mlbroker.broker.words import exact_usd
from mlbroker.pricing.vendors import LOCAL

common_settings = CommonSettings(
    non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False
)
LOOK_S = 1
MIB_A_GIB = 1024
# A rule's own budget, among its resources.
BUDGET = "mlbroker_budget"


@dataclass
class ExecutorSettings(ExecutorSettingsBase):  # type: ignore[misc]
    """Options `--mlbroker-…` of Snakemake."""

    # Snakemake's parser reads these types, and knows no `str | None`.
    budget: Optional[str] = field(
        default=None,
        metadata={"help": "What all jobs of this call may cost together, as 5 or '5 USD'",
                  "required": True},
    )  # fmt: skip
    on: str = field(
        default=LOCAL,
        metadata={"help": "This machine (local), a node by its name, or slurm[:NAME]; it must see "
                          "the workflow's folder"},
    )  # fmt: skip
    local_price: Optional[str] = field(
        default=None,
        metadata={"help": "USD an hour of this machine; else it is reckoned like one on sale"},
    )
    project: Optional[str] = field(
        default=None, metadata={"help": "Whose budget it is, in the books"}
    )


class _Told:
    """Says through Snakemake's logger."""

    def __init__(self, logger: Any) -> None:
        self._logger, self._told = logger, set[str]()

    def note(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._logger.info(text)

    def warn(self, text: str) -> None:
        self._logger.warning(text)


class Executor(RemoteExecutor):  # type: ignore[misc]
    """One call of Snakemake."""

    def __post_init__(self) -> None:
        asked: ExecutorSettings = self.workflow.executor_settings
        if SharedFSUsage.INPUT_OUTPUT not in self.workflow.storage_settings.shared_fs_usage:
            raise WorkflowError(
                "the executor mlbroker runs jobs in the workflow's folder: leave out "
                "--shared-fs-usage, or name input-output in it"
            )
        try:
            budget_usd = parse_money_usd(str(asked.budget))
            price = None if asked.local_price is None else parse_price_usd(asked.local_price)
        except MlbrokerError as error:
            raise WorkflowError(f"--mlbroker-budget, --mlbroker-local-price: {error}") from None
        place = WorkflowPlace(asked.on, price, asked.project)
        self._folder = Path.cwd()
        self._runs = Workflow(self._folder, budget_usd, place, home(), _Told(self.logger))
        self._attendants = Attendants(home())
        self._at_work: dict[str, JobExecutorInterface] = {}
        self._next_seconds_between_status_checks = LOOK_S
        self._pressed = False
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupt)

    def run_job(self, job: JobExecutorInterface) -> None:
        """Begin it as a run; one that is refused has failed, and says why."""
        info = SubmittedJobInfo(job)
        if self._pressed:
            self.report_job_error(info)
            return
        path = Path(self.tmpdir) / f"job-{job.jobid}.yaml"
        try:
            run = self._runs.begin(self._asked(job), path, self._others(job))
        except MlbrokerError as error:
            # Of what was never submitted Snakemake says no more than that it failed.
            self.logger.error(f"{job.name}: {error}")
            self.report_job_error(info)
            return
        info.external_jobid = run.run_id
        self._at_work[run.run_id] = job
        self.report_job_submission(info)

    def _asked(self, job: JobExecutorInterface) -> WorkflowJob:
        memory_mb, budget = job.resources.get("mem_mb"), job.resources.get(BUDGET)
        return WorkflowJob(
            part=",".join(map(str, job.output)) or job.name,
            name="".join(each if each.isalnum() else "-" for each in job.name),
            command=f"cd {quote(str(self._folder))} && {self.format_job_exec(job)}",
            cpus=job.threads,
            memory_gib=memory_mb / MIB_A_GIB if isinstance(memory_mb, int) else None,
            budget_usd=None if budget is None else parse_money_usd(str(budget)),
        )

    def _others(self, job: JobExecutorInterface) -> list[Decimal | None]:
        """The budgets of the other jobs that no run works on yet, as far as the rules say them.

        What a function of the rule would say is not known before its job is ready.
        """
        begun = {id(each) for each in (job, *self._at_work.values())}
        return [
            _said_usd(each.rule.resources.get(BUDGET))
            for each in self.dag.needrun_jobs()
            if id(each) not in begun and not each.is_local
        ]

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncIterator[SubmittedJobInfo]:
        """Report what is settled, and yield the rest."""
        if not active_jobs:
            # The thread that asks is begun before this executor is whole.
            return
        if self._pressed:
            # Snakemake is still here: its log drops a Ctrl-C that comes while it writes a line.
            self._runs.stop("Snakemake")
        runs = {run.run_id: run for run in self._runs.runs(
            str(info.external_jobid) for info in active_jobs
        )}  # fmt: skip
        self._attendants.look(runs.values())
        for info in active_jobs:
            run = runs[str(info.external_jobid)]
            if not run.settled:
                yield info
                continue
            self._at_work.pop(run.run_id, None)
            if run.outcome == "succeeded":
                self.report_job_success(info)
            else:
                detail = f"mlbroker run {run.run_id} is {run.outcome}"
                self.report_job_error(info, msg=f"{detail}: mlbroker logs {run.run_id}\n")

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Ask all runs to end; their carriers do it, also when this process is gone.

        What is being looked at, or was just begun, is not among `active_jobs`.
        """
        self._runs.stop("Snakemake")

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._pressed = True
        signal.default_int_handler(number, frame)

    def shutdown(self) -> None:
        """Say what it came to."""
        super().shutdown()
        spent, cap = exact_usd(self._runs.spent_usd), exact_usd(self._runs.share.budget_usd)
        self.logger.info(f"mlbroker: {spent} of {cap} USD spent: mlbroker ledger")


def _said_usd(value: object) -> Decimal | None:
    if not isinstance(value, (str, int)):
        return None
    try:
        return parse_money_usd(str(value))
    except MlbrokerError:
        return None
