"""A strict API server on loopback, over TLS, in front of a cluster whose containers really run."""

import base64
import json
import shutil
import ssl
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from tests.support.doom import Doom
from tests.support.faults import Faults
from tests.support.kubernetes.cluster import Cluster, public
from tests.support.kubernetes.kubelet import Processes, Scripted
from tests.support.kubernetes.store import KINDS, No, Object, matches
from tests.support.loopback import Quiet, lose, tick
from tests.support.loopback_clock import VirtualClock
from tests.support.loopback_guests import Script
from tests.support.loopback_http import Answer, Asked, Environ, StartResponse
from werkzeug.serving import make_server

TOKEN, NAMESPACE, CLAIM = "a-launchers-token", "ml", "mlbroker"
_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}
_PAGE = 3


@dataclass
class Request(Asked):
    """`action` is verb and resource: `create jobs`."""

    action: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    sub: str = ""


def status(code: int, reason: str, message: str, retry_s: int | None = None) -> Answer:
    body = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    }  # fmt: skip
    headers = [("Content-Type", "application/json")]
    if retry_s is not None:
        headers.append(("Retry-After", str(retry_s)))
    return Answer(f"{code} {reason}", headers, json.dumps(body).encode())


class KubernetesFaults(Faults):
    def no(self, request: Any, *error: Any) -> Answer:
        code, reason, message = error
        return status(code, reason, message)

    def failed(self, request: Any) -> Answer:
        return status(500, "InternalError", "etcdserver: request timed out")

    def too_many(self, request: Any) -> Answer:
        return status(429, "TooManyRequests", "the server is too busy", 0)


class StrictKubernetes:
    """The WSGI application, and the handles by which a test plays fate."""

    def __init__(self, volume: Path, frozen: bool) -> None:
        self.clock = VirtualClock(frozen)
        self.faults = KubernetesFaults()
        self.doom = Doom()
        self.volume = volume
        self.cluster = Cluster(self.clock, {CLAIM: volume})
        self.url = ""
        self.authority = volume
        self.tokens = {TOKEN: "ada"}
        # None: everything. Else verbs by resource, as a role of RBAC has them.
        self.rights: dict[str, set[str]] | None = None
        self.job_quota: int | None = None
        self.page = _PAGE
        self.expire_lists = 0
        self.calls: list[str] = []
        self.bodies: list[Object] = []
        if frozen:
            script = Scripted()
            script.guest = Script(self.clock, self, script.ended, timer=False)
            self.cluster.kubelet = script
            self.guest: Any = script.guest
        else:
            self.cluster.kubelet = Processes({CLAIM: volume})

    def calm(self) -> None:
        """A new cluster, in which nothing fails; the volume is empty."""
        with self.clock.lock:
            for pod in self.cluster.store.all("pods"):
                self.cluster.kubelet.kill(pod)
            self.clock.forget()
            kubelet = self.cluster.kubelet
            self.cluster = Cluster(self.clock, {CLAIM: self.volume})
            self.cluster.kubelet = kubelet
            self.job_quota, self.rights, self.expire_lists = None, None, 0
            self.tokens = {TOKEN: "ada"}
            self.faults.clear()
            self.doom.left = None
            self.calls.clear()
            self.bodies.clear()
            for left in self.volume.iterdir():
                shutil.rmtree(left)

    # The folder, for scripted guests.

    def get_object(self, vm: Any, name: str) -> bytes | None:
        try:
            return (self.volume / vm.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def put_object(self, vm: Any, name: str, data: bytes) -> None:
        path = self.volume / vm.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (path.parent / "began").exists() and path.parent.name == "0":
            (path.parent / "began").write_text(str(self.clock.now().timestamp()))
        path.write_bytes(data)

    # The protocol.

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        request = self._read(environ, body)
        if request.path.startswith("/_"):
            return self._own(request).send(start)
        with self.clock.lock:
            self.clock.tick()
            self.calls.append(request.action)
            doomed = self.doom.strikes(is_launcher=True)
            if doomed and self.doom.before:
                self.doom.kill()
                return lose(environ)
            fate = self.faults.before(request)
            if fate == "before":
                return lose(environ)
            answer = fate if isinstance(fate, Answer) else self._answer(request)
            if doomed:
                self.doom.kill()
        if fate == "after":
            return lose(environ)
        return answer.send(start)

    def _own(self, request: Asked) -> Answer:
        """The clock, and who is to die, for clients in other processes."""
        if request.path == "/_clock" and request.method == "POST":
            self.clock.advance(float(request.query["seconds"]))
        if request.path == "/_victim":
            self.doom.victim = int(request.query["pid"])
        body = json.dumps({"now": self.clock.now().isoformat()}).encode()
        return Answer("200 OK", [("Content-Type", "application/json")], body)

    def _read(self, environ: Environ, body: bytes) -> Request:
        request = Request(environ, body)
        parts = request.path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        if parts[:1] == ["namespaces"] and len(parts) > 2:
            request.namespace, parts = parts[1], parts[2:]
        parts += [""] * 3
        request.resource, request.name, request.sub = parts[0], parts[1], parts[2]
        verb = "get" if request.name else "list"
        request.action = f"{_VERBS.get(request.method, verb)} {request.resource}"
        request.action += f"/{request.sub}" if request.sub else ""
        return request

    def _answer(self, request: Request) -> Answer:
        try:
            found = self._do(request)
        except No as no:
            return status(no.code, no.reason, no.message)
        if isinstance(found, str):
            return Answer("200 OK", [("Content-Type", "text/plain")], found.encode())
        code = "201 Created" if request.method == "POST" else "200 OK"
        headers = [("Content-Type", "application/json")]
        return Answer(code, headers, json.dumps(public(found)).encode())

    def _do(self, request: Request) -> Object | str:
        user = self.tokens.get((request.header("authorization") or "").removeprefix("Bearer "))
        if user is None:
            raise No(401, "Unauthorized", "Unauthorized")
        verb, _, resource = request.action.partition(" ")
        if resource == "selfsubjectaccessreviews":
            return self._review(json.loads(request.body))
        if not self._may(verb, resource):
            group = "batch" if request.resource == "jobs" else ""
            raise No(
                403, "Forbidden",
                f'{resource} is forbidden: User "{user}" cannot {verb} resource "{resource}" in '
                f'API group "{group}" in the namespace "{request.namespace}"',
            )  # fmt: skip
        if request.resource not in KINDS:
            raise No(404, "NotFound", "the server could not find the requested resource")
        if request.namespace != NAMESPACE:
            raise No(404, "NotFound", f'namespaces "{request.namespace}" not found')
        return self._on(verb, request)

    def _on(self, verb: str, request: Request) -> Object | str:
        store, at = self.cluster.store, (request.resource, request.namespace)
        kind = "application/merge-patch+json" if verb == "patch" else "application/json"
        if request.body and request.environ.get("CONTENT_TYPE") != kind:
            raise No(415, "UnsupportedMediaType", "the body of the request is of another type")
        body = json.loads(request.body) if request.body else {}
        if verb == "list":
            return self._list(request)
        if verb == "get":
            found = store.get(*at, request.name)
            return found if request.sub != "log" else self.cluster.kubelet.log(found)
        if verb == "create":
            self.bodies.append(body)
            self._refuse_beyond_quota(request.resource, body)
            made = store.create(*at, body)
        elif verb == "patch":
            made = store.patch(*at, request.name, body)
        else:
            made = store.get(*at, request.name)
            if request.resource == "jobs":
                self.cluster.delete_job(made, body.get("propagationPolicy", "Orphan"))
            elif request.resource == "pods":
                self.cluster.delete_pod(made)
            else:
                store.remove(request.resource, made)
        self.cluster.work()
        return made

    def _list(self, request: Request) -> Object:
        selector, only = request.query.get("labelSelector", ""), request.query.get("fieldSelector")
        found = [
            thing for thing in self.cluster.store.all(request.resource, request.namespace)
            if matches(thing, selector)
            and (only is None or thing.get("involvedObject", {}).get("name") == only[20:])
        ]  # fmt: skip
        begin = int(request.query.get("continue") or 0)
        if begin and self.expire_lists:
            self.expire_lists -= 1
            raise No(410, "Expired", "The provided continue parameter is too old")
        most = min(int(request.query.get("limit") or 500), self.page)
        page = found[begin : begin + most]
        meta: Object = {"resourceVersion": "1"}
        if begin + most < len(found):
            meta["continue"] = str(begin + most)
        return {"kind": f"{KINDS[request.resource]}List", "metadata": meta, "items": page}

    def _review(self, body: Object) -> Object:
        asked = body["spec"]["resourceAttributes"]
        sub = f"/{asked['subresource']}" if asked.get("subresource") else ""
        return {**body, "status": {"allowed": self._may(asked["verb"], asked["resource"] + sub)}}

    def _may(self, verb: str, resource: str) -> bool:
        return self.rights is None or verb in self.rights.get(resource, ())

    def _refuse_beyond_quota(self, resource: str, body: Object) -> None:
        if resource != "jobs" or self.job_quota is None:
            return
        used = len(self.cluster.store.all("jobs"))
        if used >= self.job_quota:
            name = body["metadata"]["name"]
            raise No(
                403, "Forbidden",
                f'jobs.batch "{name}" is forbidden: exceeded quota: team, requested: '
                f"count/jobs.batch=1, used: count/jobs.batch={used}, limited: "
                f"count/jobs.batch={self.job_quota}",
            )  # fmt: skip


def certificates(folder: Path) -> tuple[Path, Path]:
    """A server's certificate with its key in one file, and the authority it is signed by."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    begin = datetime.now(UTC) - timedelta(days=1)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    made = []
    for key, name, own in ((keys[0], "loopback-ca", True), (keys[1], "kube-apiserver", False)):
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("loopback-ca"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(days=3))
            .add_extension(x509.BasicConstraints(ca=own, path_length=None), critical=True)
        )
        if not own:
            address = x509.IPAddress(ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        made.append(builder.sign(keys[0], hashes.SHA256()))
    pem = serialization.Encoding.PEM
    key_text = keys[1].private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    authority, server = folder / "ca.crt", folder / "server.pem"
    authority.write_bytes(made[0].public_bytes(pem))
    server.write_bytes(made[1].public_bytes(pem) + key_text)
    return server, authority


def kubeconfig(world: StrictKubernetes, folder: Path, user: str | None = None) -> Path:
    """As a cluster's tool writes one; `user` in place of the token, in YAML."""
    data = base64.b64encode(world.authority.read_bytes()).decode()
    path = folder / "kubeconfig"
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: loopback\n"
        f"clusters:\n- name: loopback\n  cluster: {{server: '{world.url}', "
        f"certificate-authority-data: {data}}}\n"
        f"users:\n- name: ada\n  user: {user or f'{{token: {TOKEN}}}'}\n"
        "contexts:\n- name: loopback\n"
        f"  context: {{cluster: loopback, user: ada, namespace: {NAMESPACE}}}\n"
    )
    path.chmod(0o600)
    return path


def nodes_yaml(world: StrictKubernetes, more: str = "", image: str = "python:3.12-slim") -> str:
    """A nodes file with one kind of place in the cluster."""
    return (
        "nodes:\n  - name: lab\n    kubernetes:\n"
        f"      image: {image}\n"
        f"      volume: {{claim: {CLAIM}, mounted_at: {world.volume}}}\n{more}"
        "    hardware: {vcpus: 2, memory_gib: 4}\n    price_per_hour_usd: 0.36\n"
    )


@contextmanager
def serving(
    folder: Path | None = None, *, frozen: bool = False, port: int = 0
) -> Iterator[StrictKubernetes]:
    """The server, until the block is left; nothing of it is left then."""
    with tempfile.TemporaryDirectory(prefix="mlbroker-cluster-") as own:
        place = Path(own) if folder is None else folder
        volume = place / "volume"
        volume.mkdir(parents=True, exist_ok=True)
        world = StrictKubernetes(volume, frozen)
        certificate, authority = certificates(Path(own))
        world.authority = authority
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        server = make_server(
            "127.0.0.1", port, world, threaded=True, request_handler=Quiet, ssl_context=tls
        )
        world.url = f"https://127.0.0.1:{server.server_port}"
        stop = threading.Event()
        serve = {"poll_interval": 0.05}
        threads = [threading.Thread(target=server.serve_forever, kwargs=serve, daemon=True)]
        if not frozen:
            threads.append(threading.Thread(target=tick, args=(world.clock, stop), daemon=True))
        for thread in threads:
            thread.start()
        try:
            yield world
        finally:
            stop.set()
            for pod in world.cluster.store.all("pods"):
                world.cluster.kubelet.kill(pod)
            server.shutdown()
            server.server_close()
            for thread in threads:
                thread.join()
            world.cluster.kubelet.close()  # type: ignore[attr-defined]
