"""A service's capacity, on real servers that are started for it and leave nothing."""

import socket
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support import known_servers
from tests.support.heard import Heard

from mlbroker.broker.app.profile import ProfileRequest, prepare
from mlbroker.broker.errors import InputError, JobFailed, MlbrokerError, NothingFeasible
from mlbroker.broker.evidence.capacities import capacities_of, nearest_capacity
from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.files.job_file import load_job
from mlbroker.broker.measure.capacity import sample_bodies
from mlbroker.broker.plan_words import traffic_words
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.service import Measure, SampleRequest, ServiceObjective
from mlbroker.profiles.stepping.stopping import StopRule

ODD = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
mode, port = sys.argv[1], int(sys.argv[2])
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_GET(self):
        if self.path == "/health":
            self.out(503 if mode == "never" else 200, b"ok")
        elif mode == "error":
            self.out(200, b'{"error": "no model"}')
        elif mode == "redirect":
            self.out(302, b"")
        elif mode == "sheds":
            self.out(429, b"")
        else:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while True:
                self.wfile.write(b"1\\r\\nx\\r\\n")
                time.sleep(0.05)
    def out(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
if mode == "dies":
    sys.exit("cannot load the model")
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def service_file(
    folder: Path, program: str, port: int, max_time: str = "20s", ready_s: int = 60
) -> Path:
    """A job file of a service of this program, which is waited for so long."""
    path = folder / "service.yaml"
    path.write_text(
        f"name: served\nworkdir: .\nrun: {sys.executable} {program} {port}\n"
        f"service: {{readiness_probe: {{path: /health, initial_delay_seconds: {ready_s}}},"
        f" replicas: 1, ports: {port}}}\n"
        f"broker:\n  profile: {{max_time: {max_time}}}\n  service:\n"
        "    objective: {latency: 200ms, share: 0.95}\n    request: {path: /classify}\n"
        "    traffic: {rate: 200, peak: 300}\n",
        encoding="utf-8",
    )
    return path


def profiled(path: Path, home: Path, heard: Heard) -> Measurement:
    """As `mlbroker profile` does it."""
    request = ProfileRequest(load_job(path).job, path, StopRule())
    return prepare(request, home, heard).measure(heard)[0]


def answers(port: int) -> bool:
    """Whether anything does on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_known_server_and_what_its_plan_says(tmp_path: Path) -> None:
    port, heard = free_port(), Heard()
    path = service_file(tmp_path, f"{known_servers.__file__} fixed", port)
    home = tmp_path / "home"

    profiled(path, home, heard)

    job = load_job(path).job
    known = capacities_of(job, MeasurementStore(home).for_job(job))
    found = nearest_capacity(known, "c7i.large")
    assert found is not None
    # Wide: the machine of the tests is busy, and 20 s are few.
    assert 25 < found.rps < 55
    assert found.low_rps <= found.rps
    assert not answers(port)
    assert MeasurementStore(home).history(load_job(path).job) == []
    words = traffic_words(job, Decimal(1), found, "c7i.large")
    assert words is not None
    assert f"{found.rps:.4g} requests a second" in words
    assert "200 requests a second" in words
    assert "a guess" in words
    there = traffic_words(job, Decimal(1), found, found.config)
    assert there is not None
    assert "a guess" not in there
    assert job.service is not None
    other = job.service._replace(objective=ServiceObjective(Measure.TTFT, 0.2))
    assert capacities_of(replace(job, service=other), MeasurementStore(home).all()) == {}


@pytest.mark.parametrize(
    ("mode", "error", "said"),
    [
        ("error", NothingFeasible, "200 with an error in the body: 5"),
        ("redirect", NothingFeasible, "status 302: 5"),
        ("sheds", NothingFeasible, "status 429: 5"),
        ("endless", NothingFeasible, "no end of the answer: 5"),
        ("never", JobFailed, "status 503"),
        ("dies", JobFailed, "cannot load the model"),
    ],
)
def test_what_is_no_service(
    mode: str, error: type[MlbrokerError], said: str, tmp_path: Path
) -> None:
    (tmp_path / "odd.py").write_text(ODD, encoding="utf-8")
    port, ready_s = free_port(), 5 if mode == "never" else 60
    path = service_file(tmp_path, f"odd.py {mode}", port, ready_s=ready_s)

    with pytest.raises(error, match=said):
        profiled(path, tmp_path / "home", Heard())

    assert not answers(port)


ASKED_BY_POST = r"""
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_GET(self): self.out(404 if self.path == "/ready" else 200)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        wanted = b'{"model": "a \\"b\\"", "max_tokens": 1}'
        key = self.headers["Authorization"] == "Bearer geheim-4711"
        json = self.headers["Content-Type"] == "application/json"
        self.out(200 if key and json and body == wanted else 400)
    def out(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
PROBE = """{path: /ready, initial_delay_seconds: 60, headers: {Authorization: Bearer $KEY},
    post_data: {model: '$MODEL', max_tokens: 1}}"""


def test_a_probe_that_is_a_post_is_asked_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "posted.py").write_text(ASKED_BY_POST, encoding="utf-8")
    path = service_file(tmp_path, "posted.py", free_port(), max_time="4s")
    got = path.read_text().replace("{path: /health, initial_delay_seconds: 60}", PROBE)
    monkeypatch.setenv("KEY", "geheim-4711")
    path.write_text(got + "envs: {MODEL: 'a \"b\"'}\nsecrets: {KEY: null}\n")
    heard = Heard()

    row = profiled(path, tmp_path / "home", heard)

    assert float(row.extra["capacity_rps"]) > 0
    assert any(note.startswith("Ready after") for note in heard.notes)

    got = got.replace("initial_delay_seconds: 60", "initial_delay_seconds: 10")
    path.write_text(got + "envs: {MODEL: other}\nsecrets: {KEY: null}\n")
    with pytest.raises(JobFailed, match="its probe got 'status 400'"):
        profiled(path, tmp_path / "home", Heard())


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        path = service_file(tmp_path, "odd.py never", other.getsockname()[1])
        with pytest.raises(InputError, match="already"):
            profiled(path, tmp_path / "home", Heard())


def test_a_body_that_is_not_json_is_said_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_text('{"text": "a"}\n\nno\n', encoding="utf-8")

    with pytest.raises(InputError, match=r"samples\.jsonl:3"):
        sample_bodies(SampleRequest("/x", "samples.jsonl"), tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        sample_bodies(SampleRequest("/x", "other.jsonl"), tmp_path)
