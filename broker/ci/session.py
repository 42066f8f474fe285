"""One call of `check`: from paths and a base to the finished check."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlbroker.broker.ci.changes import changes_against, changes_since
from mlbroker.broker.ci.check import CostCheck, Thresholds, crossings, unjudged
from mlbroker.broker.ci.code import CodeChanges
from mlbroker.broker.ci.context import KnownTimes, PolicyFiles, Pricer, PricingContext, table_from
from mlbroker.broker.ci.git import Repository
from mlbroker.broker.ci.job_texts import ENDINGS, JobTexts, TextPair
from mlbroker.broker.ci.pairs import JobPair, pair_jobs
from mlbroker.broker.ci.priced import read_previous
from mlbroker.broker.errors import InputError
from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.files.env_flags import NO_ENV, EnvFlags
from mlbroker.broker.files.yaml_strict import read_bytes
from mlbroker.broker.home import POLICY_NAME, policy_path, present, usual_file
from mlbroker.policies.planner.book import Book
from mlbroker.policies.planner.planner import Planner
from mlbroker.profiles.job import StatedTime
from mlbroker.profiles.measurement import Measurement

# So many unchanged jobs are read and priced for the record; more would only cost time.
FEW_UNCHANGED = 40


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What to check, against what. At most one of `base` and `compare_to` is given.

    `takes` is said of the jobs whose files say nothing of it; `env` are variables of all jobs.
    """

    paths: Sequence[Path] = (Path(),)
    base: str | None = None
    compare_to: Path | None = None
    measure: Path | None = None
    policy: Path | None = None
    limits: Thresholds = Thresholds()
    takes: StatedTime | None = None
    env: EnvFlags = NO_ENV


def run_check(
    request: CheckRequest, book: Book, store: MeasurementStore, now: datetime
) -> CostCheck:
    """Find the jobs, pair them with the base's, price what changed."""
    return _Session(request, book, store, now).run()


def now_or_pinned() -> datetime:
    """The time, or that of SOURCE_DATE_EPOCH where a reproducible output is asked for."""
    pinned = os.environ.get("SOURCE_DATE_EPOCH")
    if pinned is None:
        return datetime.now(UTC)
    try:
        return datetime.fromtimestamp(int(pinned), UTC)
    except (ValueError, OverflowError, OSError):
        raise InputError("is not a number of seconds", where="SOURCE_DATE_EPOCH") from None


def _folder_of(paths: Sequence[Path]) -> Path:
    """A folder that the paths share, or the current one."""
    first = next((path for path in paths if path.exists()), Path())
    return first.absolute() if first.is_dir() else first.absolute().parent


class _Session:
    def __init__(
        self, request: CheckRequest, book: Book, store: MeasurementStore, now: datetime
    ) -> None:
        if request.base is not None and request.compare_to is not None:
            raise InputError("--base and --compare-to exclude each other", hint="keep one of them")
        self._request = request
        self._book = book
        self._store = store
        self._now = now
        folder = _folder_of(request.paths)
        around = Repository(folder) if request.base else Repository.around(folder)
        self._repository = around
        self._root = around.root if around else Path.cwd()

    def run(self) -> CostCheck:
        request, pricer = self._request, Pricer(Planner(self._book, self._now))
        texts = JobTexts(request.paths, self._repository)
        current = self._current()
        commit = None
        if request.base is not None:
            assert self._repository is not None
            commit = self._repository.base_commit(request.base)
            then = self._at(self._repository, commit, current)
            found = texts.since(commit)
            same = sum(text.base == text.head for text in found)
            code = CodeChanges.since(self._repository, commit)
            price_all = then is not current or same <= FEW_UNCHANGED
            pairs = self._pairs(found, read_all=price_all or bool(code))
            if not price_all:
                pairs = [pair if code.of(pair) else pair.unread() for pair in pairs]
            jobs = changes_since(pairs, pricer, then, current, code)
        elif request.compare_to is not None:
            pairs = self._pairs(texts.current())
            jobs = changes_against(read_previous(request.compare_to), pairs, pricer, current)
        else:
            pairs = self._pairs(texts.current())
            jobs = changes_since(pairs, pricer, current, current)
        jobs.sort(key=lambda job: (job.pair.path, job.pair.name))
        return CostCheck(
            jobs,
            crossings(jobs, request.limits),
            unjudged(jobs, request.limits),
            self._book.snapshot,
            self._now,
            request.base or (str(request.compare_to) if request.compare_to else None),
            commit,
        )

    def _pairs(self, texts: Iterable[TextPair], *, read_all: bool = False) -> list[JobPair]:
        clouds = frozenset(region.cloud for region in self._book.regions().values())
        pairs = [
            pair.refused_at(clouds)
            for pair in pair_jobs(texts, self._root, self._request.env, read_all=read_all)
        ]
        takes = self._request.takes
        return pairs if takes is None else [pair.said_to_take(takes) for pair in pairs]

    def _current(self) -> PricingContext:
        """What holds in the work tree."""
        known = KnownTimes(self._store, self._table())
        option = self._request.policy
        if option is not None:
            read_bytes(option)  # one that is not there guards nothing, which must not go unnoticed
        anywhere = None if option is None else str(option.absolute())
        return PricingContext(known, self._policies(self._file, anywhere))

    def _policies(self, read: Callable[[str], bytes | None], option: str | None) -> PolicyFiles:
        outside = policy_path(self._root)
        return PolicyFiles(
            read, self._root, option=option, outside=None if outside is None else str(outside)
        )

    def _table(self) -> Sequence[Measurement]:
        if self._request.measure is None:
            return ()
        from mlbroker.broker.measure.table import read_measurements

        return read_measurements(self._request.measure)

    def _file(self, path: str) -> bytes | None:
        """A file of the work tree, or of the index where a sparse checkout leaves it out; or an
        absolute path's."""
        found = self._root / path
        there = usual_file(found) if found.name == POLICY_NAME else found
        if there is not None and present(found):
            return read_bytes(found)
        if self._repository is None:
            return None
        blob = self._repository.not_checked_out(ENDINGS).get(path)
        return None if blob is None else self._repository.blobs([blob])[blob]

    def _at(self, repository: Repository, commit: str, current: PricingContext) -> PricingContext:
        """What held at a commit; `current` itself where that is the same."""
        known = self._known_at(repository, commit) or current.known
        policies = self._policies_at(repository, commit) or current.policies
        if known is current.known and policies is current.policies:
            return current
        return PricingContext(known, policies)

    def _known_at(self, repository: Repository, commit: str) -> KnownTimes | None:
        """The measurements of a commit, where their table is part of the change."""
        table = self._request.measure
        path = None if table is None else self._inside(table)
        if table is None or path is None:
            return None
        content = repository.content(commit, path)
        if content is None:
            return KnownTimes(self._store)
        if content == table.read_bytes():
            return None
        return KnownTimes(self._store, table_from(content, table.name))

    def _policies_at(self, repository: Repository, commit: str) -> PolicyFiles | None:
        """The policy files of a commit, where one of them is part of the change."""
        option = self._request.policy
        inside = None if option is None else self._inside(option)
        if option is not None and inside is None:
            return None
        names = [inside] if inside is not None else _policy_files(repository, commit)
        if all(repository.content(commit, name) == self._file(name) for name in names):
            return None

        def then(path: str) -> bytes | None:
            # A link leads where it leads now.
            now = Path(path).is_absolute() or repository.is_link(commit, path)
            return self._file(path) if now else repository.content(commit, path)

        return self._policies(then, inside)

    def _inside(self, path: Path) -> str | None:
        """The path inside the repository, None for one outside."""
        resolved, root = path.resolve(), self._root.resolve()
        return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else None


def _policy_files(repository: Repository, commit: str) -> list[str]:
    """Policy files of the commit or of the work tree."""
    paths = {*repository.tree(commit), *repository.work_tree(ENDINGS)}
    return sorted(path for path in paths if path.rpartition("/")[2] == POLICY_NAME)
