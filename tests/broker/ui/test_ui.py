"""`mlbroker ui`: for who has the token, from this machine, to read; and pages follow the ledger."""

import http.client
import os
import signal
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
from mlbroker.broker.ui.server import Server

NOW = datetime.now(UTC)


def made(hours_ago: float = 3.0, **more: str) -> Made:
    return Made(NOW - timedelta(hours=hours_ago), 1.0, predicted_h=1.0, **more)


@contextmanager
def serving(home: Path, job: Path | None = None) -> Iterator[str]:
    """The address of the first page."""
    server = Server(site_of(home, job, None, Heard()), 0)
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
