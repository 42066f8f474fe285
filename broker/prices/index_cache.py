"""Which index belongs to the prices asked for, and building it when it is not there yet."""

import contextlib
import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mlbroker.broker.errors import InputError, MlbrokerError
from mlbroker.broker.home import named_file, private_folder
from mlbroker.broker.output import say
from mlbroker.broker.prices import embedded
from mlbroker.broker.prices.index_schema import LAYOUT, SCHEMA

if TYPE_CHECKING:  # opening a book that is already indexed should load neither
    from mlbroker.broker.prices.own_prices import OwnPrices
    from mlbroker.broker.prices.terms import Term

# Indexes of price files that are kept; the least recently built goes first.
KEPT_FILE_INDEXES = 4


def index_path(home: Path, prices_file: Path | None = None, today: date | None = None) -> Path:
    """The index for the book, or for one price file, built if need be.

    The user's own terms that hold `today` are in both.

    Processes that arrive at the same time wait for the one that builds.
    """
    folder = home / "prices"
    terms = _terms(home, today or date.today())
    if prices_file is None:
        from mlbroker.broker.prices.own_prices import generation

        path = _book(folder, generation(folder), terms)
        if not path.exists():
            _build(path, "the price book", lambda aside: _fill_book(aside, folder, terms))
            _prune(folder, "book-*.sqlite", keep=3)
        return path
    stat = _regular(prices_file)
    key = _key(
        embedded.description().sha256, prices_file.absolute(), stat.st_size, stat.st_mtime_ns, terms
    )
    path = folder / f"file-{key}.sqlite"
    if not path.exists():
        _build(path, prices_file.name, lambda aside: _fill_from_file(aside, prices_file, terms))
        _prune(folder, "file-*.sqlite", keep=KEPT_FILE_INDEXES)
    return path


def _book(folder: Path, number: int, terms: Sequence["Term"]) -> Path:
    return folder / f"book-{_key(embedded.description().sha256, number, *terms)}.sqlite"


def _terms(home: Path, today: date) -> Sequence["Term"]:
    path = named_file(home / "terms.yaml", "MLBROKER_TERMS", os.environ)
    if path is None:  # few users have terms: reading them is not loaded for the others
        return ()
    from mlbroker.broker.prices.terms import load_terms

    return load_terms(path, today).terms


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
    with _writing(path.parent):
        private_folder(str(path.parent))
        with _lock(path.parent / "build.lock"):
            if path.exists():  # another process built it while this one waited
                return
            say(f"Building the local index of {what} (once) …")
            # One builder at a time holds the lock, so whatever lies there was left by a dead one.
            aside = path.with_suffix(".building")
            aside.unlink(missing_ok=True)
            try:
                fill(aside)
                _publish(aside, path)
            finally:
                aside.unlink(missing_ok=True)


def _publish(aside: Path, path: Path) -> None:
    """Put a finished index in its place at once, and durably."""
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(path)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say what keeps an index from being written, whoever found it: the system or SQLite."""
    try:
        yield
    except OSError as error:
        reason = error.strerror
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith(
            ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY")
        ):
            raise
        reason = str(error)
    else:
        return
    raise MlbrokerError(
        f"the price index cannot be written: {reason}",
        where=str(folder),
        hint="Set MLBROKER_HOME to a folder that can be written, with 200 MB free.",
    )


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released by the system even when the process is killed
        yield


def _fill_book(aside: Path, folder: Path, terms: Sequence["Term"]) -> None:
    from mlbroker.broker.prices.index_writer import IndexWriter
    from mlbroker.broker.prices.own_prices import OwnPrices

    with OwnPrices(folder) as own, IndexWriter(aside, embedded.load()) as writer:
        own.fill(writer, terms)


def publish_generation(home: Path, own: "OwnPrices", number: int, today: date) -> Path:
    """Build the index of a change that is about to be committed, and put it in its place.

    Whoever opens the book before the commit still finds the old index, and right after it this
    one: nobody waits and nobody sees half a book.
    """
    from mlbroker.broker.prices.index_writer import IndexWriter

    folder, terms = home / "prices", _terms(home, today)
    path = _book(folder, number, terms)
    aside = path.with_suffix(f".{os.getpid()}")
    try:
        with _writing(folder):
            with IndexWriter(aside, embedded.load()) as writer:
                own.fill(writer, terms)
            _publish(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    _prune(folder, "book-*.sqlite", keep=3)
    return path


def _fill_from_file(aside: Path, prices_file: Path, terms: Sequence["Term"]) -> None:
    from mlbroker.broker.prices.index_writer import IndexWriter
    from mlbroker.broker.prices.price_file import PriceFile

    source = PriceFile(prices_file)
    with IndexWriter(aside, embedded.load()) as writer:
        writer.add_offers(source.rows())
        source.check()
        writer.finish(f"file {prices_file}", source.notices(), terms)


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
    from mlbroker.broker.prices.own_prices import OwnPrices
    from mlbroker.broker.prices.price_file import PriceFile

    _regular(prices_file)
    source = PriceFile(prices_file)
    folder = home / "prices"
    with OwnPrices(folder) as own, own.change() as number:
        own.add_imported(source.rows(), source.check, now, str(prices_file.absolute()))
        publish_generation(home, own, number, now.date())
    return source.accepted, source.notices()


def forget(home: Path, imported: bool, fetched: bool, now: datetime) -> None:
    """Go back to the embedded prices, as far as asked."""
    from mlbroker.broker.prices.own_prices import OwnPrices

    with OwnPrices(home / "prices") as own, own.change() as number:
        own.forget(imported, fetched)
        publish_generation(home, own, number, now.date())
