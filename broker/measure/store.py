"""Keeps measurements: durable, shared by every process of this user, quick to read for a plan."""

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.measure import facts, hardware_text
from mlbroker.pricing.offer import Hardware, Market
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement, Status

VERSION = 1
BUSY_S = 30.0
# So many measurements of other jobs are read for a plan, on so many configurations at least.
MAX_HISTORY = 400
FEWEST_CONFIGS = 8

# The fields of a Measurement, in the order of its constructor.
COLUMNS = (
    "job, config, time_s, price_per_hour_usd, grp, cloud, region, instance_type, nodes, market, "
    "batch_size, steps, status, reason, rep, features, hardware, sigma_log, overhead_s, "
    "peak_memory_gib, peak_gpu_memory_gib, gpu_used, fingerprint, measured_at, extra, facts"
)
_PLACES = ", ".join("?" for _ in COLUMNS.split(","))
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS measurements "
    f"(id INTEGER PRIMARY KEY, digest TEXT UNIQUE, {COLUMNS})"
)


@dataclass(frozen=True, slots=True)
class Outdated:
    """A measurement of an earlier state of the job, and what has changed since."""

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
        rows = [_to_row(m) for m in measurements]
        with self._writing() as db:
            before = db.total_changes
            db.executemany(
                f"INSERT OR IGNORE INTO measurements (digest, {COLUMNS}) "  # noqa: S608  # constant
                f"VALUES (?, {_PLACES})",
                [(hashlib.sha256(repr(row).encode()).hexdigest(), *row) for row in rows],
            )
            return db.total_changes - before

    def for_job(self, job: Job) -> list[Measurement]:
        """What speaks for the job as it is now: tables imported under its name, and profiles of
        the same command, code and data."""
        own = self._own(job)
        now = facts.of(job) if any(m.facts for m in own) else {}
        return [m for m in own if not facts.changes(m.facts, now)]

    def outdated(self, job: Job) -> list[Outdated]:
        """Profiles of earlier states of the job, each with what has changed since."""
        mine = self._select("job = ? AND fingerprint IS NOT NULL", job.name)
        now = facts.of(job) if mine else {}
        changed = [(m, facts.changes(m.facts, now)) for m in mine]
        return [Outdated(m, reasons) for m, reasons in changed if reasons]

    def history(self, job: Job, most: int = MAX_HISTORY) -> list[Measurement]:
        """Everything else: other jobs, and earlier states of this one.

        Of more than about `most`, those on the configurations that most jobs were measured on:
        a plan must not read for seconds, and what jobs have in common says most about others.
        """
        known = {_key(m) for m in self.for_job(job)}
        return [m for m in self._common(most) if _key(m) not in known]

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

    def _own(self, job: Job) -> list[Measurement]:
        return self._select(
            "(job = ? AND fingerprint IS NULL) OR fingerprint = ?", job.name, job.fingerprint()
        )

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
        self._path.parent.mkdir(parents=True, exist_ok=True)
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


def _key(m: Measurement) -> tuple[Any, ...]:
    return (m.job, m.config, m.time_s, m.measured_at, m.rep, m.batch_size, m.market)


def _to_row(m: Measurement) -> tuple[Any, ...]:
    return (
        m.job,
        m.config,
        float(m.time_s),
        None if m.price_per_hour_usd is None else str(m.price_per_hour_usd),
        m.group,
        m.cloud,
        m.region,
        m.instance_type,
        m.nodes,
        None if m.market is None else str(m.market),
        m.batch_size,
        m.steps,
        str(m.status),
        m.reason,
        m.rep,
        json.dumps(dict(m.features), sort_keys=True),
        None if m.hardware is None else hardware_text.encode(m.hardware),
        m.sigma_log,
        float(m.overhead_s),
        m.peak_memory_gib,
        m.peak_gpu_memory_gib,
        None if m.gpu_used is None else int(m.gpu_used),
        m.fingerprint,
        None if m.measured_at is None else m.measured_at.isoformat(),
        json.dumps(dict(m.extra), sort_keys=True),
        json.dumps(dict(m.facts), sort_keys=True),
    )


def _from_row(row: tuple[Any, ...]) -> Measurement:
    (job, config, time_s, price, group, cloud, region, instance_type, nodes, market) = row[:10]
    (batch_size, steps, status, reason, rep, features, hardware, sigma_log, overhead_s) = row[10:19]
    (memory, gpu_memory, gpu_used, fingerprint, measured_at, extra, known) = row[19:]
    return Measurement(
        job,
        config,
        time_s,
        _decimal(price),
        group,
        cloud,
        region,
        instance_type,
        nodes,
        None if market is None else Market(market),
        batch_size,
        steps,
        Status(status),
        reason,
        rep,
        _mapping(features),
        _hardware(hardware),
        sigma_log,
        overhead_s,
        memory,
        gpu_memory,
        None if gpu_used is None else bool(gpu_used),
        fingerprint,
        None if measured_at is None else datetime.fromisoformat(measured_at),
        _mapping(extra),
        _mapping(known),
    )


# Imported tables repeat the same prices and features in every job; each text is read once.
@lru_cache(maxsize=65536)
def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


@lru_cache(maxsize=65536)
def _mapping(text: str) -> dict[str, Any]:
    return dict(json.loads(text))


@lru_cache(maxsize=4096)
def _hardware(text: str | None) -> Hardware | None:
    return None if text is None else hardware_text.decode(text)
