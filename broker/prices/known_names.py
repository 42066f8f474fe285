"""Names in the price book's index as it lies: for a shell that waits, nothing is built for it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

MOST = 200


def known_names(home: Path, kind: Literal["type", "region", "cloud"], begun: str) -> list[str]:
    """Machine types, regions or clouds that begin so; none where there is no index yet."""
    books = sorted((home / "prices").glob("book-*.sqlite"), key=lambda path: path.stat().st_mtime)
    if not books:
        return []
    column, table = ("cloud", "region") if kind == "cloud" else ("name", kind)
    wanted = (
        f"SELECT DISTINCT {column} FROM {table} "  # noqa: S608  # fixed words, both of them
        f"WHERE substr({column}, 1, ?) = ? ORDER BY {column} LIMIT ?"
    )
    try:
        with closing(sqlite3.connect(f"{books[-1].as_uri()}?mode=ro", uri=True)) as index:
            return [name for (name,) in index.execute(wanted, (len(begun), begun, MOST))]
    except sqlite3.Error:
        return []
