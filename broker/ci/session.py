"""One call of `check`: from paths and a base to the finished check."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlbroker.broker.ci.check import Check, check_against, check_change
from mlbroker.broker.ci.git import Repository
from mlbroker.broker.ci.job_texts import JobTexts
from mlbroker.broker.ci.kept_book import KeptBook
from mlbroker.broker.ci.limits import Limits
from mlbroker.broker.ci.pairs import pair_jobs
from mlbroker.broker.ci.pricer import Known, Pricer, table_at
from mlbroker.broker.ci.saved import read_saved
from mlbroker.broker.errors import InputError
from mlbroker.broker.measure.store import MeasurementStore
from mlbroker.broker.planning import Book


@dataclass(frozen=True, slots=True)
class Request:
    """What to check, against what. At most one of `base` and `compare_to` is given."""

    paths: Sequence[Path] = (Path(),)
    base: str | None = None
    compare_to: Path | None = None
    measure: Path | None = None
    limits: Limits = Limits()


def run_check(request: Request, book: Book, store: MeasurementStore, now: datetime) -> Check:
    """Find the jobs, pair them with the base's, price what changed."""
    if request.base is not None and request.compare_to is not None:
        raise InputError("--base and --compare-to exclude each other", hint="keep one of them")
    folder = Path.cwd()
    if request.base is not None:
        return _since_commit(request, Repository(folder), Pricer(KeptBook(book), now), store, now)
    texts = JobTexts(request.paths, Repository.around(folder))
    pricer, known = Pricer(KeptBook(book), now), _known(request, store)
    pairs = pair_jobs(texts.current(), texts.root)
    if request.compare_to is None:
        return check_change(pairs, pricer, (known, known), request.limits, now, None, None)
    saved, snapshot = read_saved(request.compare_to)
    return check_against(
        pairs, saved, snapshot, pricer, known, request.limits, now, str(request.compare_to)
    )


def now_or_pinned() -> datetime:
    """The time, or that of SOURCE_DATE_EPOCH where a reproducible output is asked for."""
    pinned = os.environ.get("SOURCE_DATE_EPOCH")
    if pinned is None:
        return datetime.now(UTC)
    try:
        return datetime.fromtimestamp(int(pinned), UTC)
    except (ValueError, OverflowError, OSError):
        raise InputError("is not a number of seconds", where="SOURCE_DATE_EPOCH") from None


def _since_commit(
    request: Request,
    repository: Repository,
    pricer: Pricer,
    store: MeasurementStore,
    now: datetime,
) -> Check:
    assert request.base is not None
    commit = repository.base_commit(request.base)
    texts = JobTexts(request.paths, repository)
    current = _known(request, store)
    then = _known_at(request, repository, commit, store) or current
    pairs = pair_jobs(texts.since(commit), texts.root, read_all=then is not current)
    return check_change(pairs, pricer, (then, current), request.limits, now, request.base, commit)


def _known(request: Request, store: MeasurementStore) -> Known:
    if request.measure is None:
        return Known(store)
    from mlbroker.broker.measure.table import read_measurements

    return Known(store, read_measurements(request.measure))


def _known_at(
    request: Request, repository: Repository, commit: str, store: MeasurementStore
) -> Known | None:
    """What was known at `commit`, where the table is part of the change; None when it is not."""
    if request.measure is None:
        return None
    table = request.measure.resolve()
    root = repository.root.resolve()
    if not table.is_relative_to(root):
        return None
    blob = repository.tree(commit).get(table.relative_to(root).as_posix())
    if blob is None:
        return Known(store)
    content = repository.blobs([blob])[blob]
    if content == table.read_bytes():
        return None
    return Known(store, table_at(content, table.name))
