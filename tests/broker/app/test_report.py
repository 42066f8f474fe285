"""Reports: sums that add up, what is unknown, periods, caps, months, alerts and their webhook."""

import csv
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
from tests.support.heard import Heard
from tests.support.mlbroker import Cli
from tests.support.report_ledgers import END, Made, charged, facts_of, many, write

from mlbroker.broker.app.report import caps_of, forecast, period, report
from mlbroker.broker.app.watch_budget import alerts_of, notify
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.policy_file import parse_policy
from mlbroker.broker.report.entries import KINDS, Entry, entries
from mlbroker.broker.report.report import Report, ReportQuery
from mlbroker.broker.report.report_document import RUN_COLUMNS, report_document, run_rows
from mlbroker.broker.report.tally import saved_usd

MONTH = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def report_on(home: Path, *runs: Made, policy: str | None = None, **query: Any) -> Report:
    write(home, runs)
    asked = ReportQuery(**{"since": MONTH, "until": MONTH + timedelta(days=30)} | query)
    rules = None if policy is None else parse_policy(policy, "p.yaml")
    return report(asked, rules, home, END)


def folded(*runs: Made, at: datetime | None = None) -> list[Entry]:
    return entries(f for f in facts_of(runs, at) if f.kind in KINDS)


def made(day: int, hours: float, **more: Any) -> Made:
    return Made(MONTH + timedelta(days=day - 1, hours=9), hours, **more)


def test_all_that_was_spent_went_somewhere(tmp_path: Path) -> None:
    found = report_on(tmp_path, *many(300, 40, seed=3), since=END - timedelta(days=40))
    total = found.total
    assert sum(total.uses_usd.values()) == total.spent_usd
    for key in ("project", "user", "cloud", "type", "job", "day"):
        by = report_on(tmp_path / key, *many(300, 40, seed=3), by=key,
                       since=END - timedelta(days=40))  # fmt: skip
        assert sum((t.spent_usd for t in by.groups.values()), Decimal(0)) == total.spent_usd
        assert sum(t.runs for t in by.groups.values()) == total.runs == 300
    assert sum((day.usd for day in found.days), Decimal(0)) == total.spent_usd


def test_a_run_that_took_longer_had_taken_longer_elsewhere(tmp_path: Path) -> None:
    # Predicted at 1 h with .8 of it command; it came to 2 h with .9 of it command.
    run = made(3, 2.0, predicted_h=1.0, useful=0.9)
    [entry] = folded(run)
    assert entry.pace == pytest.approx(2 * 0.9 / 0.8)
    usual = Decimal("3.06") * Decimal("0.6")
    assert saved_usd(entry) == pytest.approx(
        usual * Decimal(entry.pace) - charged(run), abs=Decimal("1e-5")
    )


@pytest.mark.parametrize(
    ("run", "use"),
    [
        (made(3, 1.0, outcome="failed", predicted_h=1.0), "failed"),
        (made(3, 1.0, purpose="profile", predicted_h=1.0), "profiling"),
    ],
)
def test_what_did_not_succeed_saved_nothing(tmp_path: Path, run: Made, use: str) -> None:
    found = report_on(tmp_path, run)
    assert found.total.saved.runs == 0
    assert found.total.uses_usd[use] == found.total.spent_usd == charged(run)


def test_unknown_is_said_and_never_zero(tmp_path: Path) -> None:
    # The grid of type 3 is unknown, and its job was never measured.
    found = report_on(tmp_path, made(3, 1.0, kind=3))
    total = report_document(found, [])["total"]
    assert (total["carbon_kgco2e"], total["carbon_unknown_runs"]) == (None, 1)
    assert total["energy_kwh"] == pytest.approx(0.25)
    assert total["saved"]["usd"] is None
    assert total["deadlines"]["expected_in_time"] is None


def test_runs_count_in_the_month_they_were_reserved_in(tmp_path: Path) -> None:
    october = Made(MONTH - HOUR, 5.0)
    first, last = Made(MONTH, 1.0), Made(MONTH + timedelta(days=19), 1.0)
    found = report_on(tmp_path, october, first, last)
    assert found.total.runs == 2
    assert found.total.spent_usd == charged(first) + charged(last)


def test_deadlines_are_met_or_not(tmp_path: Path) -> None:
    found = report_on(
        tmp_path,
        made(2, 1.0, deadline_h=2.0, predicted_h=1.0),
        made(3, 3.0, deadline_h=2.0, predicted_h=1.0),
        made(4, 1.0, deadline_h=2.0, outcome="failed"),
        made(5, 1.0),
    )
    assert (found.total.in_time, found.total.deadlines) == (1, 3)
    assert found.total.expected_in_time == pytest.approx(1.9)


@pytest.mark.parametrize(
    ("month", "since", "says"),
    [("2026-13", None, "not a month"), ("2026-11", "3d", "either"), (None, "2027-01-01", "come"),
     (None, "soon", "soon")],
)  # fmt: skip
def test_a_period_that_is_none_is_refused(month: str, since: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        period(month, since, END)


def test_periods() -> None:
    assert period(None, None, END) == (MONTH, datetime(2026, 12, 1, tzinfo=UTC))
    assert period("2026-12", None, END)[1] == datetime(2027, 1, 1, tzinfo=UTC)
    assert period(None, "2026-11-03", END) == (datetime(2026, 11, 3, tzinfo=UTC), END)
    assert period(None, "36h", END) == (END - 36 * HOUR, END)


def test_teams_are_the_policys(tmp_path: Path) -> None:
    runs = [made(2, 1.0, user=user) for user in ("ada", "bob", "eve")]
    found = report_on(tmp_path, *runs, by="team", policy="teams: {vision: [ada, bob]}")
    assert {team: each.runs for team, each in found.groups.items()} == {"vision": 2, "(none)": 1}
    with pytest.raises(InputError, match="no policy file tells of teams"):
        report_on(tmp_path / "other", *runs, by="team")


POLICY = """
max_spend_per_month: {total: 100 USD, per_user: 10 USD, projects: {nlp: 5 USD}}
max_spend_per_day: 50 USD
alerts: {at: [50, 80, 100], idle: 10m}
"""


def test_caps_hold_what_is_spent_and_what_is_reserved() -> None:
    policy = parse_policy(POLICY, "p.yaml")
    runs = folded(
        made(3, 4.0), made(20, 1.0, outcome=None, user="bob"), Made(MONTH - HOUR, 9.0)
    )  # fmt: skip
    caps = {f"{cap.rule} {cap.of}": cap for cap in caps_of(policy, runs, END)}
    total = caps["max_spend_per_month in total"]
    assert (total.spent_usd, total.reserved_usd) == (charged(made(3, 4.0)), Decimal(30))
    assert total.left_usd == Decimal(70) - total.spent_usd
    assert caps["max_spend_per_month of user bob"].left_usd == -20
    assert caps["max_spend_per_month of project nlp"].left_usd == 5
    assert caps["max_spend_per_day in total"].spent_usd == 0
    assert "max_spend_per_month of project vision" not in caps


def test_alerts_name_what_they_are_of() -> None:
    policy = parse_policy(POLICY, "p.yaml")
    runs = folded(made(3, 4.0), made(19, 1.0, outcome=None, user="bob", kill_h=1.0))
    caps = caps_of(policy, runs, END)
    idle = {runs[1].run_id: 900.0}
    found = alerts_of(caps, [run for run in runs if run.open], idle, policy, END)
    assert [alert.kind for alert in found] == ["cap", "cap", "forecast", "kill", "idle"]
    assert "max_spend_per_day in total: 60%" in found[0].text
    assert "of user bob: 300% of 10 USD" in found[1].text
    assert "has done nothing for 15 min" in found[4].text


def test_nothing_to_hear_of_is_no_alert() -> None:
    assert alerts_of([], folded(made(20, 1.0, outcome=None)), {}, None, END) == []


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        hook: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = hook.answers.pop(0) if hook.answers else 200
        if status == 200:
            hook.heard.append(json.loads(body))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def webhook(*answers: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that answers so, then well, and what it was told."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Hook)
    server.answers, server.heard = list(answers), []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/s3cr3t", server.heard
    server.shutdown()
    server.server_close()


def alert(kind: str = "cap") -> Any:
    from mlbroker.policies.alerts import Alert

    return Alert(kind, f"{kind} key", "a <b> & c")


def test_each_alert_is_posted_once_and_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    with webhook(503) as (url, told):
        monkeypatch.setenv("MLBROKER_ALERT_URL", url)
        notify([alert()], "json", tmp_path, heard)
        notify([alert(), alert("idle")], "slack", tmp_path, heard)
        notify([alert()], "json", tmp_path, heard)
    assert told[0]["alerts"] == [{"kind": "cap", "key": "cap key", "text": "a <b> & c"}]
    assert told[1] == {"text": "mlbroker:\n• a &lt;b&gt; &amp; c"}
    assert len(told) == 2


def test_a_webhook_that_says_no_is_told_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    with webhook(404) as (url, told):
        monkeypatch.setenv("MLBROKER_ALERT_URL", url)
        notify([alert()], "json", tmp_path, heard)
        assert told == []
        notify([alert()], "json", tmp_path, heard)
    assert len(told) == 1
    [warning] = heard.warnings
    assert "404" in warning
    assert "s3cr3t" not in warning


def test_no_address_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLBROKER_ALERT_URL", raising=False)
    with pytest.raises(InputError, match="no address"):
        notify([alert()], "json", tmp_path, Heard())


def _a_ledger(seed: int) -> tuple[datetime, list[Made]]:
    """Runs up to a month's end, of a team with its own pace: how many, how unequal, how bursty."""
    random = Random(seed)
    month = datetime(2026, random.randrange(2, 12), 1, tzinfo=UTC)
    at = month - timedelta(days=random.choice((10, 30, 60)))
    end = (month + timedelta(days=32)).replace(day=1)
    rate, unequal = random.uniform(1, 6), random.uniform(0.4, 1.6)
    weekends, bursts = random.choice((0.1, 0.4, 1.0)), random.choice((0.0, 0.4, 0.8))
    level, runs = 0.0, []
    while at < end:
        level = 0.7 * level + random.gauss(0, bursts * 0.7)
        share = weekends if at.weekday() >= 5 else 1.0
        count = round(random.gammavariate(3.0, rate * share * 2.718**level / 3.0))
        for _ in range(count):
            moment = at + random.random() * timedelta(days=1)
            hours = random.lognormvariate(0.5, unequal)
            guess = hours * random.lognormvariate(0.0, 0.2)
            runs.append(Made(moment, hours, predicted_h=guess if random.random() < 0.7 else None))
        at += timedelta(days=1)
    return month, runs


def test_four_of_five_months_end_within_their_interval() -> None:
    """On 200 ledgers of unlike teams, cut at the 5th, 12th and 20th: 75 to 90 %."""
    inside = dict.fromkeys((5, 12, 20), 0)
    for seed in range(200):
        month, runs = _a_ledger(seed)
        actual = float(sum(charged(run) for run in runs if run.at >= month))
        for cut in inside:
            now = month.replace(day=cut, hour=10)
            found = forecast(folded(*(run for run in runs if run.at <= now), at=now), now)
            assert found is not None
            inside[cut] += found.p10 <= actual <= found.p90
    assert 0.75 <= sum(inside.values()) / 600 <= 0.9, inside
    assert all(0.7 <= held / 200 <= 0.95 for held in inside.values()), inside


def test_as_a_user_has_it(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.home.mkdir()
    now = datetime.now(UTC)
    write(cli.home, many(60, 20, seed=5, end=now))
    (tmp_path / "mlbroker-policy.yaml").write_text("max_spend_per_month: 20 USD")
    text = cli("report", "--since", "30d")
    assert text.returncode == 0, text.stderr
    assert "60 runs" in text.stdout
    assert "ALERT     max_spend_per_month in total" in text.stdout
    assert max(len(line) for line in cli("report", "--by", "type").stdout.splitlines()[-6:]) <= 80
    checked = cli("report", "--check")
    assert checked.returncode == 5
    assert "max_spend_per_month in total" in checked.stderr
    rows = list(csv.DictReader(io.StringIO(cli("report", "--since", "30d", "--csv").stdout)))
    document = json.loads(cli("report", "--since", "30d", "--json").stdout)
    schema = files("mlbroker.broker").joinpath("schemas/report.json").read_text("utf-8")
    jsonschema.validate(document, json.loads(schema))
    spent = sum((Decimal(row["spent_usd"]) for row in rows), Decimal(0))
    assert (len(rows), spent) == (60, Decimal(document["total"]["spent_usd"]))
    assert cli("report", "--by", "mood").returncode == 2


def test_every_run_has_the_columns_that_the_header_names() -> None:
    for row in run_rows(folded(made(2, 1), made(3, 2, outcome=None))):
        assert tuple(row) == RUN_COLUMNS


def test_csv_of_no_runs_is_the_header_of_the_same_columns(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.home.mkdir()
    empty = cli("report", "--csv")
    assert empty.returncode == 0, empty.stderr
    header = empty.stdout.splitlines()
    assert len(header) == 1
    write(cli.home, many(3, 2, seed=5, end=datetime.now(UTC)))
    full = cli("report", "--since", "30d", "--csv").stdout
    assert full.splitlines()[0] == header[0]
    read = list(csv.DictReader(io.StringIO(full)))
    assert len(read) == 3
    assert all(row["run_id"] and None not in row for row in read)


def test_ps_tells_alerts_and_does_without_a_policy_that_cannot_be_read(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.home.mkdir()
    write(cli.home, [Made(datetime.now(UTC) - HOUR, 0.5, outcome=None)])
    policy = tmp_path / "mlbroker-policy.yaml"
    policy.write_text("max_spend_per_month: 31 USD")
    told = cli("ps")
    assert told.returncode == 0, told.stderr
    assert "ALERT  max_spend_per_month in total: 97% of 31 USD" in told.stdout
    policy.write_text("max_spend_per_month: [31]")
    told = cli("ps")
    assert told.returncode == 0
    assert "no alerts: " in told.stderr
    assert "unattended" in told.stdout
