"""A team's ledger on PostgreSQL, where it is no file: server, rights, clocks, lost answers."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support.cutting_proxy import cutting_proxy
from tests.support.ledgers import LedgerFile, TeamLedger
from tests.support.policies import judge_by
from tests.support.postgres import Postgres, needs_postgres
from tests.support.report_ledgers import many, write

from mlbroker.broker.app.team_ledger import migrate
from mlbroker.broker.errors import InputError, RefusedError
from mlbroker.broker.ledger import Ledger, LedgerError, Verdict, open_ledger, team_storage
from mlbroker.broker.ledger import postgres as on_server
from mlbroker.broker.ledger import postgres_server as servers
from mlbroker.broker.runs.admission import PolicyAdmission
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.policies.guardrails.interface import Who
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.vendors import Meter

BODY: dict[str, Any] = {
    "job": "j", "user": "u", "project": None, "cap_usd": "5", "reserved_usd": "5",
}  # fmt: skip
SECRET = "s3cr3t/word"
HERE = LaunchOption("local", "on-prem", "local", "on_demand", Bill(Decimal(1), 1, Meter()))


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def team(postgres: Postgres) -> TeamLedger:
    return TeamLedger(postgres, postgres.ledger())


@pytest.mark.parametrize(
    "url",
    [
        "mysql://ada:s3cr3t@db/ledger",
        "host=db password=s3cr3t",
        "postgresql://ada:s3cr3t@db:port/ledger",
        "postgresql://ada:pass@s3cr3t@db/ledger",
        "postgresql://ada:pass/s3cr3t@db/ledger",
        "postgresql://ada:%zzs3cr3t@db/ledger",
        "postgresql://db/ledger?no_such_option=s3cr3t",
    ],
)
def test_what_is_no_url_is_refused_without_repeating_it(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLBROKER_LEDGER", url)
    with pytest.raises(InputError, match="MLBROKER_LEDGER: is no PostgreSQL URL") as error:
        open_ledger(tmp_path)
    assert "s3cr3t" not in str(error.value)


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLBROKER_LEDGER", "postgresql://db/ledger")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setattr(servers, "how_to_install", lambda extra: f"extra: {extra}")
    with pytest.raises(InputError, match=r"psycopg, which is not installed\n.*extra: postgres"):
        open_ledger(tmp_path)


def test_a_database_that_is_down_is_said_without_its_password() -> None:
    ledger = Ledger(team_storage("postgresql://ada:s3cr3t@127.0.0.1:1/ledger"))
    for use in (ledger.runs, lambda: ledger.reserve(now(), "r1", BODY)):
        with pytest.raises(LedgerError, match=r"ada@127\.0\.0\.1:1/ledger: cannot use") as error:
            use()
        assert "Nothing is launched without it" in str(error.value)
        assert "s3cr3t" not in str(error.value)


@needs_postgres
def test_the_password_comes_from_its_file_and_is_shown_nowhere(
    team: TeamLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.execute(f"CREATE ROLE guarded LOGIN SUPERUSER PASSWORD '{SECRET}'")
    url = team.server.url(team.url.rpartition("/")[2], "guarded")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    with pytest.raises(LedgerError, match="no password") as error:
        Ledger(team_storage(url)).runs()
    assert "~/.pgpass" in str(error.value)
    (tmp_path / "pgpass").write_text(f"127.0.0.1:*:*:guarded:{SECRET}\n")
    (tmp_path / "pgpass").chmod(0o600)
    assert Ledger(team_storage(url)).runs() == []
    wrong = url.replace("guarded@", "guarded:s3cr3t%2Fwrong@")
    with pytest.raises(LedgerError, match="password authentication failed") as error:
        Ledger(team_storage(wrong)).runs()
    assert "s3cr3t" not in str(error.value)
    team.execute("DROP ROLE guarded")


@needs_postgres
def test_tls_is_as_the_url_asks(team: TeamLedger) -> None:
    root = team.server.certificate
    asked = f"{team.url}?sslmode=verify-full&sslrootcert="
    assert Ledger(team_storage(f"{asked}{root}".replace("127.0.0.1", "localhost"))).runs() == []
    with pytest.raises(LedgerError, match=r"127\.0\.0\.1"):  # the certificate is of another name
        Ledger(team_storage(f"{asked}{root}")).runs()
    other = f"{asked}{root.parent / 'other.crt'}".replace("127.0.0.1", "localhost")
    with pytest.raises(LedgerError, match="certificate verify failed"):
        Ledger(team_storage(other)).runs()


@needs_postgres
def test_an_empty_database_says_how_to_begin(postgres: Postgres) -> None:
    ledger = Ledger(team_storage(postgres.database()))
    for use in (ledger.runs, ledger.head, ledger.verify, lambda: ledger.reserve(now(), "r", BODY)):
        with pytest.raises(LedgerError, match=r"no ledger in this database yet\n.*ledger migrate"):
            use()


@needs_postgres
def test_tables_of_an_older_version_are_brought_up_to_date(
    team: TeamLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.set_version(0)
    with pytest.raises(LedgerError, match=r"format 0; this mlbroker writes 1\n.*ledger migrate"):
        team.open().runs()
    team.set_version(99)
    monkeypatch.setenv("MLBROKER_LEDGER", team.url)
    with pytest.raises(LedgerError, match="format 99"):
        migrate(Path("none"), from_sqlite=False, writer=None)


@needs_postgres
def test_a_clock_that_is_off_counts_at_the_databases_time(team: TeamLedger) -> None:
    seen = []

    def admission(accounts: object, approvals: object, at: datetime) -> Verdict:
        seen.append(at)
        return Verdict()

    ledger = team.open()
    for number, off in enumerate((timedelta(), timedelta(days=40), -timedelta(days=40))):
        ledger.reserve(now() + off, f"r{number}", BODY, admission)
    runs = {run.run_id: run for run in ledger.runs()}
    assert runs["r0"].counts_at == runs["r0"].reserved_at
    assert runs["r1"].reserved_at - now() > timedelta(days=39), "what the clock said is on record"
    for run in runs.values():
        assert abs(run.counts_at - now()) < timedelta(minutes=5)
    assert all(abs(at - now()) < timedelta(minutes=5) for at in seen), "caps go by it too"
    assert ledger.verify() is None


@needs_postgres
def test_caps_are_the_same_by_sums_as_by_single_runs(team: TeamLedger, tmp_path: Path) -> None:
    """Settled runs come summed up by day from a server, one by one from a file."""
    file = LedgerFile(tmp_path)
    runs = list(many(150, 60, seed=3, end=now() - timedelta(minutes=1)))
    for books in (file, team):
        write(books.storage(), runs)
    for period in ("day", "month"):
        for kind in ("total", "per_user", "per_project"):
            for user, project in (("ada", "vision"), ("bob", None)):
                rule = f"max_spend_per_{period}: {{{kind}: 0.01 USD}}"
                judge = judge_by(rule, Who(user, project))
                admission = PolicyAdmission(judge, [HERE], "j", Decimal(5))
                said = []
                for books in (file, team):
                    with pytest.raises(RefusedError) as error:
                        books.open().reserve(now(), "new", BODY, admission)
                    said.append(str(error.value))
                assert said[0] == said[1]
    assert team.open().verify() is None
    team.execute("UPDATE spent SET usd = usd + 1 WHERE usd > 0")
    found = team.open().verify()
    assert found is not None
    assert "what was spent on" in found.what


@needs_postgres
def test_a_writer_of_least_rights_adds_and_changes_nothing(
    team: TeamLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLBROKER_LEDGER", team.url)
    team.execute('CREATE ROLE "a client" LOGIN')
    own = TeamLedger(team.server, team.server.url(team.url.rpartition("/")[2], "a%20client"))
    with pytest.raises(LedgerError, match=r"permission denied.*\n.*--writer"):
        own.open().reserve(now(), "r1", BODY)
    migrate(tmp_path, from_sqlite=False, writer="a client")
    ledger = own.open()
    ledger.reserve(now(), "r1", BODY)
    ledger.append(now(), "r1", "settled", {"outcome": "stopped"})
    assert ledger.verify() is None
    for statement in (
        "UPDATE facts SET body = '{}'", "DELETE FROM facts", "TRUNCATE facts", "DELETE FROM head",
        "DELETE FROM accounts", "UPDATE spent SET usd = 0", "DROP TRIGGER facts_stay ON facts",
        "ALTER TABLE facts DISABLE TRIGGER ALL", "UPDATE head SET version = 2",
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            own.execute(statement)
    team.execute('DROP OWNED BY "a client"', 'DROP ROLE "a client"')


@pytest.mark.parametrize("statement", ["TRUNCATE facts", "DELETE FROM facts WHERE seq = 1"])
@needs_postgres
def test_not_even_the_owner_removes_a_fact_by_mistake(team: TeamLedger, statement: str) -> None:
    team.open().reserve(now(), "r1", BODY)
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        team.execute(statement)


@needs_postgres
def test_rows_that_were_cut_off_are_missed(team: TeamLedger) -> None:
    team.open().reserve(now(), "r1", BODY)
    team.open().reserve(now(), "r2", BODY)
    team.unprotect()
    team.execute("DELETE FROM facts WHERE seq = 2")
    found = team.open().verify()
    assert found is not None
    assert "rows after row 1 are missing" in found.what


@pytest.fixture
def far(team: TeamLedger) -> Iterator[tuple[Any, Ledger]]:
    """The same, with something on the way that can be cut."""
    with cutting_proxy(team.server.port) as proxy:
        url = team.url.replace(f":{team.server.port}/", f":{proxy.port}/")
        # Encrypted, nobody on the way would know a commit.
        yield proxy, Ledger(team_storage(f"{url}?sslmode=disable"))


@needs_postgres
def test_a_commit_whose_answer_is_lost_counts_once(
    far: tuple[Any, Ledger], team: TeamLedger
) -> None:
    proxy, ledger = far
    ledger.reserve(now(), "r0", BODY)
    proxy.cut = True
    assert ledger.reserve(now(), "r1", BODY).run_id == "r1"
    proxy.cut = True
    ledger.append(now(), "r1", "noted", {"n": 1})
    assert proxy.cuts == 2
    assert [fact.kind for fact in team.open().facts()] == ["reserved", "reserved", "noted"]
    assert team.open().verify() is None


@needs_postgres
def test_a_commit_that_never_arrived_is_said_not_to_be_kept(
    far: tuple[Any, Ledger], team: TeamLedger
) -> None:
    proxy, ledger = far
    proxy.before = proxy.cut = True
    with pytest.raises(LedgerError, match=r"before anything was kept.*\n.*Nothing was launched"):
        ledger.reserve(now(), "r1", BODY)
    assert proxy.cuts == 1
    assert team.open().runs() == []
    ledger.reserve(now(), "r1", BODY)  # the same object goes on
    assert [run.run_id for run in team.open().runs()] == ["r1"]


@needs_postgres
def test_a_commit_is_kept_though_the_wait_for_the_disk_failed(
    team: TeamLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, failed = on_server._PostgresTransaction.commit, []

    def and_fail(transaction: Any) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(on_server, "_TO_DISK", "SELECT 1 / 0")
            try:
                commit(transaction)
            except psycopg.errors.DivisionByZero as error:
                failed.append(error)
                raise

    monkeypatch.setattr(on_server._PostgresTransaction, "commit", and_fail)
    assert team.open().reserve(now(), "r1", BODY).run_id == "r1"
    assert len(failed) == 1
    assert [run.run_id for run in team.open().runs()] == ["r1"]


@needs_postgres
def test_a_connection_that_the_server_took_back_is_opened_anew(team: TeamLedger) -> None:
    ledger = team.open()
    ledger.reserve(now(), "r1", BODY)
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'mlbroker' AND datname = current_database()"
    )
    team.execute(cut)
    assert len(ledger.runs()) == 1
    team.execute(cut)
    ledger.append(now(), "r1", "settled", {"outcome": "stopped"})
    assert ledger.open_runs() == []


@needs_postgres
def test_a_server_that_restarts_is_waited_for_by_who_used_it(own_postgres: Postgres) -> None:
    ledger = Ledger(team_storage(own_postgres.ledger()))
    ledger.reserve(now(), "r1", BODY)
    own_postgres.kill()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ledger.append, now(), "r1", "settled", {"outcome": "stopped"})
        own_postgres.start()
        assert waiting.result().settled
    assert ledger.verify() is None


@needs_postgres
def test_who_stands_still_with_the_lock_loses_it(
    team: TeamLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = servers._SESSION.replace("'15s'", "'300ms'")
    monkeypatch.setattr(servers, "_SESSION", brief)
    first, second = team.storage(), team.open()

    def stand_still() -> None:
        with first.write() as transaction:
            transaction.append(now(), "r1", "reserved", BODY)
            second.reserve(now(), "r2", BODY)  # has waited for the first one's end

    with pytest.raises(LedgerError, match=r"lost before anything was kept.*\n.*launched"):
        stand_still()
    assert [run.run_id for run in second.runs()] == ["r2"]


@needs_postgres
def test_who_waits_too_long_for_the_lock_is_told(
    team: TeamLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_SESSION", servers._SESSION.replace("'30s'", "'100ms'"))
    late = pytest.raises(LedgerError, match=r"lock timeout\n.*pg_stat_activity")
    with team.storage().write(), late:
        team.open().reserve(now(), "r2", BODY)


@needs_postgres
def test_a_copied_ledger_has_the_same_head(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.database()
    monkeypatch.setenv("MLBROKER_LEDGER", url)
    with pytest.raises(InputError, match="no ledger is in the state folder"):
        migrate(tmp_path, from_sqlite=True, writer=None)
    assert os.listdir(tmp_path) == []
    file = LedgerFile(tmp_path)
    write(tmp_path, [made for made in many(40, 30, seed=5) if made.outcome])
    file.open().note(now(), "approved", {"id": "a1"})
    done = migrate(tmp_path, from_sqlite=True, writer=None)
    seq, head = file.open().head()
    assert (done["facts"], done["head"]) == (seq, f"{seq}:{head}")
    team = TeamLedger(postgres, url)
    assert team.open().head() == (seq, head)
    assert team.open().verify() is None
    assert team.open().runs() == file.open().runs()
    assert sorted(team.open().accounts(), key=str) == sorted(file.open().accounts(), key=str)
    with pytest.raises(RefusedError, match=f"a ledger of {seq} facts already"):
        migrate(tmp_path, from_sqlite=True, writer=None)
    assert migrate(tmp_path, from_sqlite=False, writer=None)["head"] == done["head"]


@needs_postgres
def test_what_is_open_or_damaged_is_not_copied(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.database()
    monkeypatch.setenv("MLBROKER_LEDGER", url)
    file = LedgerFile(tmp_path)
    file.open().reserve(now(), "r1", BODY)
    with pytest.raises(RefusedError, match="run r1 is open"):
        migrate(tmp_path, from_sqlite=True, writer=None)
    file.open().append(now(), "r1", "settled", {"outcome": "stopped"})
    file.unprotect()
    file.execute("UPDATE facts SET body = '{}' WHERE seq = 2")
    with pytest.raises(LedgerError, match="row 2 was changed"):
        migrate(tmp_path, from_sqlite=True, writer=None)
    with pytest.raises(LedgerError, match="no ledger in this database yet"):
        TeamLedger(postgres, url).open().runs()


def test_a_file_needs_no_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLBROKER_LEDGER", raising=False)
    with pytest.raises(
        InputError, match="neither MLBROKER_LEDGER nor a policy file names a database"
    ):
        migrate(tmp_path, from_sqlite=False, writer=None)
