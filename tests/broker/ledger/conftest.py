"""Every place where a ledger may be kept."""

from pathlib import Path

import pytest
from tests.support.ledgers import Books, LedgerFile, TeamLedger
from tests.support.postgres import needs_postgres


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=needs_postgres)])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Books:
    if request.param == "sqlite":
        return LedgerFile(tmp_path)
    server = request.getfixturevalue("postgres")
    return TeamLedger(server, server.ledger())
