"""`mlbroker ui`: for who has the token, from this machine, to read; and pages follow the ledger."""

import http.client
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect
from tests.support.browser import needs_chart_library, serious_faults
from tests.support.heard import Heard
from tests.support.mlbroker import PATIENCE_S, Cli
from tests.support.plan_pages import HOSTILE
from tests.support.report_ledgers import Made, write

from mlbroker.broker.app.ui import site_of
from mlbroker.broker.errors import InputError
from mlbroker.broker.report.page import Served
from mlbroker.broker.ui.server import Server
from mlbroker.broker.ui.site import Site

NOW = datetime.now(UTC)


def made(hours_ago: float = 3.0, **more: str) -> Made:
    return Made(NOW - timedelta(hours=hours_ago), 1.0, predicted_h=1.0, **more)


@contextmanager
def serving(home: Path, job: Path | None = None, policy: Path | None = None) -> Iterator[str]:
    """The address of the first page."""
    with running(site_of(home, job, policy, Heard())) as url:
        yield url


@contextmanager
def running(site: Site) -> Iterator[str]:
    """The same, of any site."""
    server = Server(site, 0)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server.url
    server.shutdown()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    write(folder, [made()])
    return folder


def ask(url: str, method: str = "GET", host: str | None = None) -> tuple[int, str, dict[str, str]]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_S)
    headers = {} if host is None else {"Host": host}
    connection.request(method, parts.path, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, dict(answer.getheaders())


@contextmanager
def events(url: str) -> Iterator[Iterator[str]]:
    """The versions that an open page is told of, each waited for."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_S)
    connection.request("GET", f"{parts.path}events")
    answer = connection.getresponse()

    def told() -> Iterator[str]:
        while True:
            line = answer.readline().decode()
            if line.startswith("data: "):
                yield line

    yield told()
    connection.close()


def damage(home: Path) -> None:
    """Somebody writes over a row, which the ledger's own rules refuse."""
    connection = sqlite3.connect(home / "ledger.db")
    connection.execute("DROP TRIGGER facts_stay")
    connection.execute("UPDATE facts SET body = '{}' WHERE kind = 'reserved'")
    connection.commit()
    connection.close()


def test_who_has_the_token_reads(home: Path) -> None:
    with serving(home) as url:
        status, text, headers = ask(url)
        assert status == 200
        assert "1 run" not in text  # none is under way
        assert "train" in text
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in headers
        assert ask(url, "HEAD")[:2] == (200, "")
        assert "Spending of machine-learning jobs" in ask(url + "report")[1]


def test_nobody_else_does(home: Path) -> None:
    with serving(home) as url:
        parts = urlsplit(url)
        port, token = parts.port, parts.path.strip("/")
        base = f"http://127.0.0.1:{port}"
        for path in ("/", "/report", f"/{token[:-1]}x/", f"/{token}", f"/{token}/../", "//"):
            assert ask(base + path)[0] == 404
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}"):
            assert ask(url, host=host)[0] == 404
        assert ask(url, host=f"localhost:{port}")[0] == 200
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert ask(url, method)[0] == 405
            assert ask(f"{base}/", method)[0] == 404
        assert ask(url + "events", "HEAD")[:2] == (200, "")


def test_two_names_of_a_host_are_none(home: Path) -> None:
    with serving(home) as url:
        parts = urlsplit(url)
        assert parts.hostname is not None
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_S)
        connection.putrequest("GET", parts.path)
        connection.putheader("Host", "evil.example")
        connection.endheaders()
        assert connection.getresponse().status == 404
        connection.close()


def test_what_cannot_be_read_is_a_page(home: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("nmae: <x>\n")
    with serving(home, job) as url:
        status, text, _ = ask(url + "plan")
        assert status == 200
        assert "This cannot be shown" in text
        assert "<x>" not in text
        assert ask(url)[0] == 200


def test_a_damaged_ledger_is_said(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "ledger.db").write_bytes(b"no database at all" * 300)
    with serving(home) as url:
        status, text, _ = ask(url)
        assert status == 200
        assert "cannot use the ledger" in text


def test_a_row_that_is_damaged_meanwhile_is_said_and_not_slept_through(home: Path) -> None:
    with serving(home) as url, events(url) as told:
        assert "train" in ask(url)[1]
        next(told)
        damage(home)
        # Damage alone is no new fact: pages are made anew for the next one.
        write(home, [made(1.0)])
        next(told)
        for page in ("", "report"):
            status, text, _ = ask(url + page)
            assert status == 200
            assert "row 1 of the ledger makes no sense" in text


def test_what_nobody_thought_of_is_a_page_and_the_site_lives_on() -> None:
    state = {"version": "1"}

    def version() -> str:
        if state["version"] == "broken":
            raise KeyError("x")
        return state["version"]

    def make(served: Served) -> str:
        if state["version"] == "odd":
            raise ZeroDivisionError("y")
        return f"page of {state['version']}"

    site = Site({"": make}, {"": "Runs"}, version, lambda: None)
    with running(site) as url, events(url) as told:
        assert ask(url)[1] == "page of 1"
        next(told)
        state["version"] = "broken"
        next(told)
        state["version"] = "odd"
        next(told)
        assert "ZeroDivisionError: y. This is a bug." in ask(url)[1]
        state["version"] = "2"
        next(told)
        assert ask(url)[1] == "page of 2"


def test_a_cloud_that_hangs_keeps_nobody_from_the_ledger(home: Path) -> None:
    asked, over = threading.Event(), threading.Event()

    def hangs() -> None:
        asked.set()
        over.wait(PATIENCE_S)

    site = site_of(home, None, None, Heard())
    site.ask = hangs
    try:
        with running(site) as url, events(url) as told:
            next(told)
            assert asked.wait(PATIENCE_S)
            write(home, [made(1.0, job="fine-tune")])
            next(told)
            assert "fine-tune" in ask(url)[1]
    finally:
        over.set()


def test_a_policy_that_was_mended_counts(home: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("max_spend_per_month: [1]")
    with serving(home, policy=policy) as url, events(url) as told:
        next(told)
        assert "This cannot be shown" in ask(url + "report")[1]
        policy.write_text("max_spend_per_month: 500 USD")
        next(told)
        assert "max_spend_per_month in total" in ask(url + "report")[1]


def test_a_port_that_is_taken_is_refused(home: Path) -> None:
    with serving(home) as url, pytest.raises(InputError, match="cannot be listened on"):
        Server(site_of(home, None, None, Heard()), urlsplit(url).port or 0)


@needs_chart_library
def test_an_open_page_follows_the_ledger(home: Path, browser: Browser) -> None:
    with serving(home) as url, browser.new_context() as own:
        page = own.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        expect(page.get_by_role("link", name="Runs")).to_have_attribute("aria-current", "page")
        job = page.get_by_role("cell", name="fine-tune")
        expect(job).to_have_count(0)
        write(home, [made(1.0, job="fine-tune")])
        expect(job).to_be_visible(timeout=20_000)
        # Who filters a table is told, and not interrupted.
        page.get_by_role("combobox", name="job").select_option("train")
        write(home, [made(0.5, job="third")])
        expect(page.locator("#news")).to_contain_text("There is news", timeout=20_000)
        assert serious_faults(page) == []
        page.get_by_role("link", name="This month").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Spending")
        assert wrong == []


@needs_chart_library
def test_a_page_says_when_nobody_serves_it_any_more(home: Path, browser: Browser) -> None:
    with browser.new_context() as own:
        page = own.new_page()
        with serving(home) as url:
            page.goto(url)
            expect(page.get_by_text("train").first).to_be_attached()
        expect(page.locator("#news")).to_contain_text("it may be old", timeout=20_000)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_run_nothing(tmp_path: Path, browser: Browser, text: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    write(home, [made(job=text, user=text, project=text)])
    with serving(home) as url, browser.new_context() as own:
        page = own.new_page()
        asked: list[str] = []
        page.on("dialog", lambda dialog: asked.append(dialog.message))
        page.goto(url)
        assert text in page.get_by_role("region", name="Settled").inner_text()
        assert asked == []


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    viewer = cli.start("ui")
    assert viewer.stdout is not None
    url = viewer.stdout.readline().strip()
    assert ask(url)[0] == 200
    os.kill(viewer.pid, signal.SIGINT)
    _, said = viewer.communicate(timeout=PATIENCE_S)
    assert viewer.returncode == 0, said
    assert "Ended." in said
