"""Tables that users hand over: CSV, gzipped CSV or Parquet, read a row at a time."""

import csv
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from mlbroker.broker.errors import InputError

Rows = Iterator[tuple[int, list[str]]]


def refuse_what_is_no_file(path: Path) -> None:
    """InputError unless there is a regular file."""
    if not path.exists():
        raise InputError("there is no such file", where=str(path))
    if not path.is_file():
        raise InputError("this is not a regular file", where=str(path))


@contextmanager
def open_table(path: Path, *, strict: bool) -> Iterator[tuple[list[str], Rows]]:
    """The columns' names, and line and cells of each row that is not empty.

    `strict` refuses stray quotes. InputError names the file when it cannot be read to its end.
    """
    if path.suffix == ".parquet":
        yield _parquet(path)
        return
    try:
        with _open(path) as file:
            reader = csv.reader(file, strict=strict)
            names = [name.strip() for name in next(reader, [])]
            yield names, ((reader.line_num, cells) for cells in reader if cells)
    except UnicodeDecodeError as error:
        raise InputError(f"cannot be read: not UTF-8, {error.reason}", where=str(path)) from None
    except (OSError, EOFError, csv.Error) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from None


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _parquet(path: Path) -> tuple[list[str], Rows]:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except ImportError:
        raise InputError(
            "reading Parquet needs the package pyarrow",
            where=str(path),
            hint="pip install pyarrow, or write the table as CSV.",
        ) from None
    except Exception as error:  # pyarrow raises many kinds for a damaged file
        raise InputError(f"cannot be read: {error}", where=str(path)) from None
    missing = frame.isna().to_numpy()
    rows = (
        (number + 1, ["" if missing[number, i] else str(v) for i, v in enumerate(values)])
        for number, values in enumerate(frame.itertuples(index=False, name=None))
    )
    return [str(name) for name in frame.columns], rows
