"""A real PostgreSQL server on a socket and a loopback port, and databases in it for tests."""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest
from tests.support.mlbroker import PATIENCE_S

from mlbroker.broker.ledger.postgres_schema import migrate
from mlbroker.broker.ledger.postgres_server import Server

_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name))
_FOUND = shutil.which("postgres")
BIN = _FOLDERS[-1] if _FOLDERS else Path(_FOUND).parent if _FOUND else None
needs_postgres = pytest.mark.skipif(
    BIN is None, reason="needs PostgreSQL: apt-get install postgresql"
)
# It refuses to run as root; its package made this user.
_AS = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
_CONFIGURATION = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
max_connections = 300
shared_buffers = '32MB'
fsync = {fsync}
synchronous_commit = on
logging_collector = off
log_min_messages = fatal
ssl = on
ssl_cert_file = '{folder}/server.crt'
ssl_key_file = '{folder}/server.key'
"""
# One user needs a password.
_WHO_MAY = """local all all trust
host all guarded all scram-sha-256
host all all all trust
"""
_CERTIFICATE = [
    "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
    "-subj", "/CN=localhost",
]  # fmt: skip


@dataclass
class Postgres:
    """One server. `owner` may do everything in it."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None
    _numbers: Iterator[int] = itertools.count(1)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def certificate(self) -> Path:
        """What signs the server's certificate, which is of `localhost`."""
        return self.folder / "server.crt"

    def url(self, database: str, user: str = "owner", password: str = "") -> str:
        who = f"{user}:{password}" if password else user
        return f"postgresql://{who}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*_AS, str(_bin("postgres")), "-D", str(self.data)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                said = (self.folder / "log").read_text()
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(said) from None
                time.sleep(0.05)

    def kill(self) -> None:
        """As `kill -9` of the whole server: nothing is flushed, nothing is said."""
        postmaster = psutil.Process(self._postmaster())
        backends = postmaster.children()
        for process in (postmaster, *backends):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._gone()
        psutil.wait_procs(backends)

    def stop(self) -> None:
        """At once, in order."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self._postmaster(), signal.SIGINT)
            self._gone()

    def _postmaster(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def _gone(self) -> None:
        assert self.process is not None
        self.process.wait()
        self.process = None

    def database(self) -> str:
        """The URL of a new, empty one."""
        name = f"t{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def ledger(self) -> str:
        """The URL of a new one with the tables of a ledger."""
        url = self.database()
        migrate(Server.of(url), iter(()), ())
        return url

    def execute(self, url: str, *statements: str) -> Sequence[tuple[object, ...]]:
        """What the last one answers, if anything."""
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


def _bin(name: str) -> Path:
    assert BIN is not None
    return BIN / name


@contextlib.contextmanager
def running_postgres(*, durable: bool = True) -> Iterator[Postgres]:
    """A started server, gone in the end. Its folder is short, as paths of sockets have to be.

    One that is not `durable` does not wait for the disk; it is not to be killed.
    """
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as text:
        folder = Path(text)
        folder.chmod(0o777)
        subprocess.run(
            [*_AS, str(_bin("initdb")), "-D", str(folder / "data"), "-U", "owner",
             "--auth=trust", "--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C"],
            check=True, cwd=folder, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        for name in ("server", "other"):
            key, certificate = (str(folder / f"{name}.{kind}") for kind in ("key", "crt"))
            subprocess.run(
                [*_AS, *_CERTIFICATE, "-keyout", key, "-out", certificate],
                check=True, capture_output=True,
            )  # fmt: skip
        (folder / "data" / "pg_hba.conf").write_text(_WHO_MAY)
        server = Postgres(folder, _free_port())
        conf = folder / "conf"
        conf.write_text(
            _CONFIGURATION.format(port=server.port, folder=folder, fsync="on" if durable else "off")
        )
        conf.chmod(0o644)
        with open(folder / "data" / "postgresql.conf", "a") as file:
            file.write(f"include '{conf}'\n")
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
