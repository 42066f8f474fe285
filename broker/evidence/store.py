"""Keeps measurements, and what was learnt from them: durable, and quick to read for a plan."""

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.evidence import facts
from mlbroker.broker.evidence.capacities import is_capacity
from mlbroker.broker.evidence.columns import FIELDS, stored
from mlbroker.broker.home import private_folder
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.versions import Difference

VERSION = 1
BUSY_S = 30.0
# So many measurements of other jobs are read for a plan, on so many configurations at least.
MAX_HISTORY = 400
FEWEST_CONFIGS = 8
FITTED_FILE = "fitted.json"
FITTED_SCHEMA = "mlbroker.fitted/1"

# `group` is a word of SQL.
COLUMNS = ", ".join("grp" if name == "group" else name for name in FIELDS)
_PLACES = ", ".join("?" for _ in FIELDS)
_RESTORE = [column.restore for column in FIELDS.values()]
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS measurements "
    f"(id INTEGER PRIMARY KEY, digest TEXT UNIQUE, {COLUMNS})"
)


def is_other_batch(row: Measurement, job: Job) -> bool:
    """Whether its steps are none of the job's: how many there are of them is another number."""
    return job.batch is not None and row.batch_size not in (None, job.batch.size)


class Outdated(NamedTuple):
    """A measurement of what was another job, or failed as another, and what changed since."""

    measurement: Measurement
    reasons: tuple[str, ...]


class MeasurementStore:
    """The measurements of one user, in `measurements.db` under mlbroker's home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._path = home / "measurements.db"

    def add(self, measurements: Iterable[Measurement]) -> int:
        """Keep them; on disk when this returns. Returns how many were new: the same table imported
        twice counts once."""
        rows = [tuple(stored(name, getattr(m, name)) for name in FIELDS) for m in measurements]
        with self._writing() as db:
            before = db.total_changes
            db.executemany(
                f"INSERT OR IGNORE INTO measurements (digest, {COLUMNS}) "  # noqa: S608  # constant
                f"VALUES (?, {_PLACES})",
                [(hashlib.sha256(repr(row).encode()).hexdigest(), *row) for row in rows],
            )
            return db.total_changes - before

    def for_job(self, job: Job) -> list[Measurement]:
        """What speaks for the job as it is now: tables imported under its name, profiles and runs
        of the same command, code and data, and those of earlier versions with what that leaves
        open (`doubt_log`, and `version` in words)."""
        return self._versions(job)[0]

    def at_every_batch(self, job: Job) -> list[Measurement]:
        """The same, and of the job at batches that are not its own: steps there are none of it."""
        return self._versions(job, own_batch=False)[0]

    def outdated(self, job: Job) -> list[Outdated]:
        """Measurements under its name that say nothing of it any more, with what has changed."""
        return self._versions(job)[1]

    def _versions(
        self, job: Job, *, own_batch: bool = True
    ) -> tuple[list[Measurement], list[Outdated]]:
        mine = self._select("job = ? OR fingerprint = ?", job.name, job.fingerprint())
        if own_batch:
            mine = [row for row in mine if not is_other_batch(row, job)]
        now = facts.of(job) if any(m.facts for m in mine) else {}
        speaking: list[Measurement] = []
        silent: list[Outdated] = []
        # Runs of one version have one state of the job: what changed since is found once.
        known: dict[tuple[tuple[str, str], ...], Difference] = {}
        for row in mine:
            if not row.facts:
                if row.fingerprint in (None, job.fingerprint()):
                    speaking.append(row)
                continue
            key = tuple(sorted(row.facts.items()))
            if key not in known:
                known[key] = facts.since(job, row.facts, now)
            since = known[key]
            # What stopped or broke another version does not stop this one.
            if since.unrelated or (since.alters and row.status is not Status.OK):
                silent.append(Outdated(row, since.reasons))
            elif since.changes:
                speaking.append(_earlier(row, since))
            else:
                speaking.append(row)
        return speaking, silent

    def history(self, job: Job, most: int = MAX_HISTORY) -> list[Measurement]:
        """Everything else: other jobs, and earlier states of this one.

        Of more than about `most`, those on the configurations that most jobs were measured on:
        a plan must not read for seconds, and what jobs have in common says most about others.
        """
        known = {_key(m) for m in self.for_job(job)}
        return [m for m in self._common(most) if _key(m) not in known and not is_capacity(m)]

    def _common(self, most: int) -> list[Measurement]:
        if not self._path.exists():
            return []
        with self._connection() as db:
            jobs, count = db.execute(
                "SELECT count(DISTINCT job), count(*) FROM measurements"
            ).fetchone()
            if count <= most:
                return self.all()
            shared = db.execute("SELECT config, count(*) FROM measurements GROUP BY config")
            # Equally common ones in an order that has nothing to do with their names.
            ranked = sorted(shared, key=lambda row: (-row[1], zlib.crc32(row[0].encode()), row[0]))
        chosen = [config for config, _ in ranked[: max(most // jobs, FEWEST_CONFIGS)]]
        return self._select("config IN (SELECT value FROM json_each(?))", json.dumps(chosen))

    def named(self, job: str) -> list[Measurement]:
        """Everything under this name, whatever state the job was in."""
        return self._select("job = ?", job)

    def all(self) -> list[Measurement]:
        """Every measurement, oldest first."""
        return self._select("TRUE")

    def forget(self, job: str, *, config: str | None = None) -> int:
        """Drop the measurements of the job of this name, on one configuration if given; how many
        were dropped."""
        with self._writing() as db:
            return db.execute(
                "DELETE FROM measurements WHERE job = ? AND (? IS NULL OR config = ?)",
                (job, config, config),
            ).rowcount

    def _select(self, condition: str, *values: str) -> list[Measurement]:
        if not self._path.exists():
            return []
        with self._connection() as db:
            query = f"SELECT {COLUMNS} FROM measurements WHERE {condition} ORDER BY id"  # noqa: S608
            return [_from_row(row) for row in db.execute(query, values)]

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            db = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)
            try:
                yield db
            finally:
                db.close()
        except sqlite3.DatabaseError as error:
            raise MlbrokerError(
                f"the store of measurements cannot be used: {error}",
                where=str(self._path),
                hint="if the file is damaged, move it away; measurements can be taken anew",
            ) from None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        private_folder(str(self._path.parent))
        with self._connection() as db:
            # A rollback journal rather than WAL: writers are rare, and switching a new file to
            # WAL is not safe when several processes open it at once.
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise MlbrokerError(
                    "the store of measurements was written by a newer mlbroker",
                    where=str(self._path),
                    hint="upgrade mlbroker, or use another MLBROKER_HOME",
                )
            db.execute(_SCHEMA)
            db.execute("CREATE INDEX IF NOT EXISTS by_job ON measurements (job)")
            db.execute("CREATE INDEX IF NOT EXISTS by_fingerprint ON measurements (fingerprint)")
            db.execute(f"PRAGMA user_version = {VERSION}")
            yield db
            db.execute("COMMIT")


def _earlier(row: Measurement, since: Difference) -> Measurement:
    version = f"on an earlier version, {'; '.join(since.reasons)} since"
    told = replace(row, doubt_log=since.sigma_log, version=version)
    if not since.alters:
        return told
    return replace(told, peak_memory_gib=None, peak_gpu_memory_gib=None)


def _key(m: Measurement) -> tuple[Any, ...]:
    return (m.job, m.config, m.time_s, m.measured_at, m.rep, m.batch_size, m.market)


def _from_row(row: tuple[Any, ...]) -> Measurement:
    return Measurement(
        *(
            value if value is None or restore is None else restore(value)
            for value, restore in zip(row, _RESTORE, strict=True)
        )
    )


def relearn(home: Path) -> None:
    """Fit anew to all measurements, so that no plan has to; called whenever they change."""
    from mlbroker.broker.prices.price_book import open_book
    from mlbroker.policies.planner.book import fill_hardware
    from mlbroker.profiles.estimators.transfer import learn

    rows = [row for row in MeasurementStore(home).all() if not is_capacity(row)]
    if len({row.group or row.job for row in rows}) < 2:
        (home / FITTED_FILE).unlink(missing_ok=True)
        return
    fitted = learn(fill_hardware(open_book(home, None), rows))
    fresh = home / f"{FITTED_FILE}.{os.getpid()}"
    fresh.write_text(
        json.dumps({"schema": FITTED_SCHEMA, "hyper": fitted}) + "\n", encoding="utf-8"
    )
    fresh.replace(home / FITTED_FILE)


def learnt(home: Path) -> Mapping[str, float]:
    """What was learnt last; nothing where nothing was, or where the file is damaged."""
    with suppress(OSError, ValueError):
        document = json.loads((home / FITTED_FILE).read_text(encoding="utf-8"))
        if isinstance(document, dict) and document.get("schema") == FITTED_SCHEMA:
            hyper = document.get("hyper")
            if isinstance(hyper, dict):
                return {k: float(v) for k, v in hyper.items() if isinstance(v, int | float)}
    return {}
