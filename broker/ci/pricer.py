"""Prices many jobs in one process, against one book that is read once."""

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from mlbroker.broker.ci.kept_book import KeptBook
from mlbroker.broker.ci.quick_plan import QuickPlanner
from mlbroker.broker.ci.side import Side, digest_of, measurements_digest
from mlbroker.broker.errors import InputError
from mlbroker.broker.job_file import JobFile
from mlbroker.broker.measure.fitted import learnt
from mlbroker.broker.measure.store import MeasurementStore
from mlbroker.broker.plan import Plan
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence


class Known:
    """What is known of jobs' step times at one moment: the store, and a table if one is given."""

    def __init__(self, store: MeasurementStore, table: Sequence[Measurement] = ()) -> None:
        self._store = store
        self._stored = store.all()
        self._table = table
        # Jobs without measurements share this very list, by which planning knows them as alike.
        self._all = [*self._stored, *table]
        self._digest = measurements_digest(self._all)
        self._names = {row.job for row in self._all}
        self._fingerprints = {row.fingerprint for row in self._stored} - {None}

    def of(self, job: Job) -> Evidence:
        """The job's own measurements, and those of others."""
        if job.name not in self._names and job.fingerprint() not in self._fingerprints:
            return Evidence(job, (), self._all)
        own = self._store.for_job(job) + [row for row in self._table if row.job == job.name]
        if not own:
            return Evidence(job, (), self._all)
        others = self._store.history(job) + [row for row in self._table if row.job != job.name]
        return Evidence(job, own, others, learnt(self._store.home))

    def digest(self, evidence: Evidence) -> str:
        """Equal when a prediction for the job rests on equal measurements."""
        return digest_of(measurements_digest(evidence.measurements), self._digest)

    def void(self, job: Job) -> tuple[str, ...]:
        """Why profiles of earlier states of the job do not speak for it any more."""
        outdated = self._store.outdated(job) if job.name in self._names else []
        return outdated[-1].reasons if outdated else ()


class Pricer:
    """Prices jobs at one moment with one book."""

    def __init__(self, book: KeptBook, now: datetime) -> None:
        self.book = book
        self._planner = QuickPlanner(book, now)

    def price(self, file: JobFile, known: Known) -> Side:
        """What the job costs where it is cheapest in time, or what would have to change."""
        job = file.job
        evidence = known.of(job)
        inputs = self.inputs(file, known, evidence)
        try:
            plan = self._planner.plan(job, evidence)
        except InputError as error:  # a deadline that has passed
            return Side(None, str(error), None, job.runs_per_month, inputs)
        return Side(
            quote=plan.choice,
            problem=None if plan.choice else _problem(plan),
            deadline_s=plan.ask.deadline_s,
            runs_per_month=job.runs_per_month,
            inputs=inputs,
        )

    @staticmethod
    def inputs(file: JobFile, known: Known, evidence: Evidence | None = None) -> tuple[str, str]:
        """Digests of all that the price of a job rests on, but for the book."""
        job_digest = digest_of(file.job.name, dict(file.values))
        return job_digest, known.digest(evidence or known.of(file.job))


def _problem(plan: Plan) -> str:
    from mlbroker.broker.cli.plan_view import way_out

    ways = way_out(plan)
    return "no machine meets its needs, deadline and budget" + (f": {ways}" if ways else "")


def table_at(content: bytes, name: str) -> list[Measurement]:
    """The measurements of a table that is not a file of its own here."""
    from mlbroker.broker.measure.table import read_measurements

    with tempfile.TemporaryDirectory(prefix="mlbroker-") as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(content)
        return read_measurements(path, report=lambda _: None)
