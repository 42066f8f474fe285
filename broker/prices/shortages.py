"""Where a machine was asked for in vain lately: remembered for a while, then forgotten."""

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.home import present, private_folder

FILE = "capacity.sqlite"
# Vendors' shortages of a type last from minutes to hours; after this it is worth another try.
REMEMBERED = timedelta(hours=1)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS shortage (cloud TEXT, region TEXT, zone TEXT, instance_type TEXT,
  spot INTEGER, at REAL NOT NULL, detail TEXT NOT NULL,
  PRIMARY KEY (cloud, region, zone, instance_type, spot)) WITHOUT ROWID
"""
_WHOLE_REGION = ""


class Shortage(NamedTuple):
    """A vendor's "no capacity". `zone` None is the whole region."""

    cloud: str
    region: str
    zone: str | None
    instance_type: str
    spot: bool
    at: datetime
    detail: str


def remember(home: Path, shortage: Shortage) -> None:
    """Keep a shortage seen at a launch; the newest stands for its place."""
    private_folder(str(home))
    with closing(sqlite3.connect(home / FILE, timeout=30)) as db, db:
        db.execute(_SCHEMA)
        # Short of room, no need for more: what is long over goes.
        db.execute("DELETE FROM shortage WHERE at < ?", ((shortage.at - REMEMBERED).timestamp(),))
        db.execute(
            "INSERT OR REPLACE INTO shortage VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                shortage.cloud,
                shortage.region,
                shortage.zone or _WHOLE_REGION,
                shortage.instance_type,
                shortage.spot,
                shortage.at.timestamp(),
                shortage.detail[:500],
            ),
        )


def lately(home: Path, now: datetime) -> list[Shortage]:
    """The shortages that still count."""
    path = home / FILE
    if not present(path):
        return []
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as db:
        try:
            rows = db.execute(
                "SELECT cloud, region, zone, instance_type, spot, at, detail FROM shortage"
                " WHERE at >= ? AND at <= ?",
                ((now - REMEMBERED).timestamp(), now.timestamp()),
            ).fetchall()
        except sqlite3.OperationalError:  # created a moment ago, still without its table
            return []
    return [
        Shortage(
            cloud,
            region,
            zone or None,
            name,
            bool(spot),
            datetime.fromtimestamp(at, now.tzinfo),
            why,
        )
        for cloud, region, zone, name, spot, at, why in rows
    ]
