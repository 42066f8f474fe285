"""Which index belongs to the prices asked for, and building it when it is not there yet."""

import contextlib
import fcntl
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from mlbroker.broker.errors import InputError, MlbrokerError
from mlbroker.broker.prices import embedded
from mlbroker.broker.prices.layout import LAYOUT, SCHEMA

# Indexes of price files that are kept; the least recently built goes first.
KEPT_FILE_INDEXES = 4


def index_path(home: Path, prices_file: Path | None = None) -> Path:
    """The index for the book, or for one price file, built if need be.

    Processes that arrive at the same time wait for the one that builds.
    """
    folder = home / "prices"
    if prices_file is None:
        from mlbroker.broker.prices.own_rows import generation

        own = generation(folder)
        path = folder / f"book-{_key(embedded.description().sha256, own)}.sqlite"
        if not path.exists():
            _build(path, "the price book", lambda aside: _fill_book(aside, folder))
            _prune(folder, "book-*.sqlite", keep=2)
        return path
    stat = _regular(prices_file)
    key = _key(
        embedded.description().sha256, prices_file.absolute(), stat.st_size, stat.st_mtime_ns
    )
    path = folder / f"file-{key}.sqlite"
    if not path.exists():
        _build(path, prices_file.name, lambda aside: _fill_from_file(aside, prices_file))
        _prune(folder, "file-*.sqlite", keep=KEPT_FILE_INDEXES)
    return path


def _key(*parts: object) -> str:
    text = "\0".join(map(str, (LAYOUT, SCHEMA, *parts)))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _regular(path: Path) -> os.stat_result:
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", where=str(path)) from None
    if not path.is_file():
        raise InputError(
            "is not a regular file", where=str(path), hint="Give a CSV or Parquet file of prices."
        )
    return stat


def _build(path: Path, what: str, fill: Callable[[Path], None]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path.parent / "build.lock"):
            if path.exists():  # another process built it while this one waited
                return
            sys.stderr.write(f"Building the local index of {what} (once) …\n")
            # One builder at a time holds the lock, so whatever lies there was left by a dead one.
            aside = path.with_suffix(".building")
            aside.unlink(missing_ok=True)
            try:
                fill(aside)
                with aside.open("rb") as file:
                    os.fsync(file.fileno())
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
    except OSError as error:
        raise MlbrokerError(
            f"the price index cannot be written: {error.strerror}",
            where=str(path.parent),
            hint="Set MLBROKER_HOME to a folder that can be written, with 200 MB free.",
        ) from None


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released by the system even when the process is killed
        yield


def _fill_book(aside: Path, folder: Path) -> None:
    from mlbroker.broker.prices.index import IndexWriter
    from mlbroker.broker.prices.own_rows import OwnRows

    writer = IndexWriter(aside, embedded.load())
    with OwnRows(folder) as own:
        own.fill(writer)


def _fill_from_file(aside: Path, prices_file: Path) -> None:
    from mlbroker.broker.prices.index import IndexWriter
    from mlbroker.broker.prices.price_file import PriceFile

    source = PriceFile(prices_file)
    writer = IndexWriter(aside, embedded.load())
    try:
        writer.add_offers(source.rows())
        source.check()
        writer.finish(f"file {prices_file}", source.notices())
    except BaseException:
        writer.abandon()
        raise


def _prune(folder: Path, pattern: str, keep: int) -> None:
    """Remove old indexes; whoever still reads one keeps its open file."""

    def built(path: Path) -> float:
        try:
            return path.stat().st_mtime
        except FileNotFoundError:  # another process pruned it first
            return 0.0

    for path in sorted(folder.glob(pattern), key=built, reverse=True)[keep:]:
        path.unlink(missing_ok=True)


def import_file(home: Path, prices_file: Path, now: datetime) -> tuple[int, list[str]]:
    """Keep a file's prices as the user's own; returns how many, and what to know about them."""
    from mlbroker.broker.prices.own_rows import OwnRows
    from mlbroker.broker.prices.price_file import PriceFile

    _regular(prices_file)
    source = PriceFile(prices_file)
    with OwnRows(home / "prices") as own:
        own.add_imported(source.rows(), source.check, now, str(prices_file.absolute()))
    return source.accepted, source.notices()
