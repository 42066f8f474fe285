"""Who asks which API server, and whom it believes: by a kubeconfig, as kubectl reads it, or a pod.

Format: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/; programs that give
credentials: https://kubernetes.io/docs/reference/config-api/client-authentication.v1/.
"""

import base64
import binascii
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlbroker.broker.clouds.interface import Denied, Unclear, one_line
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.clusters import Cluster
from mlbroker.broker.files.yaml_strict import Node, parse, read_text

_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PLUGIN_S = 60
# What would be left out in silence, and opens more, or less, than the user thinks.
_REFUSED = {
    "insecure-skip-tls-verify": "the server's certificate is always checked: name its CA",
    "proxy-url": "a proxy of its own is not used; HTTPS_PROXY is",
    "tls-server-name": "another name for the server is not checked",
    "auth-provider": "Kubernetes has removed it: let the cluster's tool write `exec:`",
    "username": "Kubernetes has removed passwords: use a token or a certificate",
    "as": "nobody else's name is taken on",
}


@dataclass(frozen=True)
class Access:
    """`token` None: who asks is proved by a certificate in `tls`, or by nothing."""

    server: str
    tls: ssl.SSLContext | None
    token: str | None
    namespace: str

    @property
    def where(self) -> str:
        """The server, for messages."""
        return urlsplit(self.server).netloc

    @property
    def headers(self) -> dict[str, str]:
        """What proves who asks."""
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}


def access_to(cluster: Cluster, environ: Mapping[str, str] = os.environ) -> Access:
    """Read anew each time: tokens grow old, and whoever gives them is asked for another.

    Raises InputError for a kubeconfig that cannot be used, with what and where.
    """
    path = _kubeconfig(cluster, environ)
    if path is None:
        return _in_a_pod(cluster, environ)
    source = str(path)
    documents = parse(read_text(path), source)
    top = _plain(documents[0]) if len(documents) == 1 else None
    if not isinstance(top, dict):
        raise InputError("is no kubeconfig", where=source)
    name = cluster.context or top.get("current-context")
    if not name:
        raise InputError("has no current-context", where=source, hint="Set `context:` in the node.")
    context = _named(top, "contexts", "context", name, source)
    server = _named(top, "clusters", "cluster", context.get("cluster"), source)
    user = {} if not context.get("user") else _named(
        top, "users", "user", context["user"], source
    )  # fmt: skip
    for key, why in _REFUSED.items():
        if str({**server, **user}.get(key) or "false").lower() != "false":
            raise InputError(f"{key}: {why}", where=f"{source}: context {name}")
    folder = path.parent
    token, pem = _credentials(user, server, folder, source, environ)
    address = str(server.get("server") or "").rstrip("/")
    authority = _text(server, "certificate-authority", folder, source)
    namespace = cluster.namespace or context.get("namespace") or "default"
    return _access(address, authority, pem, token, str(namespace), source)


def _kubeconfig(cluster: Cluster, environ: Mapping[str, str]) -> Path | None:
    """The node's own, that of the environment, or the usual one; None in a pod that has none."""
    if cluster.kubeconfig is not None:
        return Path(cluster.kubeconfig)
    named = [part for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if len(named) > 1:
        raise InputError(
            "names several files, which are not put together here",
            where="KUBECONFIG",
            hint="Name one with `kubeconfig:` in the node, or: kubectl config view --flatten.",
        )
    if named:
        return Path(named[0]).expanduser()
    usual = Path(environ.get("HOME", "~")).expanduser() / ".kube" / "config"
    if "KUBERNETES_SERVICE_HOST" in environ and cluster.context is None and not usual.exists():
        return None
    return usual


def _in_a_pod(cluster: Cluster, environ: Mapping[str, str]) -> Access:
    """As the service account of the pod that this runs in."""
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    token, authority = (_read(_POD / name, "the pod") for name in ("token", "ca.crt"))
    namespace = cluster.namespace or _read(_POD / "namespace", "the pod").strip()
    return _access(f"https://{host}:{port}", authority, None, token.strip(), namespace, "the pod")


def _access(
    server: str, authority: str | None, pem: str | None, token: str | None, namespace: str, at: str
) -> Access:
    parts = urlsplit(server)
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        # As `kubectl proxy` serves it.
        return Access(server, None, token, namespace)
    if parts.scheme != "https" or not parts.hostname:
        raise InputError(f"server: {server!r} is no https address", where=at)
    try:
        tls = ssl.create_default_context(cadata=authority)
        if pem is not None:
            # The library takes certificates from files alone.
            with tempfile.NamedTemporaryFile("w", prefix="mlbroker-", suffix=".pem") as file:
                file.write(pem)
                file.flush()
                tls.load_cert_chain(file.name)
    except (OSError, ValueError) as error:
        raise InputError(f"its certificates cannot be used: {one_line(error)}", where=at) from None
    return Access(server, tls, token, namespace)


def _credentials(
    user: dict[str, Any], server: dict[str, Any], folder: Path, source: str, environ: Any
) -> tuple[str | None, str | None]:
    """Token, and certificate with key."""
    if isinstance(user.get("exec"), dict):
        return _asked(user["exec"], server, folder, source, environ)
    certificate = _text(user, "client-certificate", folder, source)
    key = _text(user, "client-key", folder, source)
    if (certificate is None) != (key is None):
        raise InputError("has a client-certificate or a client-key without the other", where=source)
    token = user.get("token")
    if user.get("tokenFile"):
        token = _read(folder / str(user["tokenFile"]), source).strip()
    return token, None if certificate is None else f"{certificate}\n{key}"


def _asked(
    plugin: dict[str, Any], server: dict[str, Any], folder: Path, source: str, environ: Any
) -> tuple[str | None, str | None]:
    """What the program of `exec:` answers, run as kubectl runs it, without a terminal."""
    command, where = str(plugin.get("command") or ""), f"{source}: users: exec"
    if os.sep in command:
        command = str(folder / command)
    version = plugin.get("apiVersion")
    spec: dict[str, Any] = {"interactive": False}
    if str(plugin.get("provideClusterInfo")).lower() == "true":
        told = {k: v for k, v in server.items() if k in ("server", "certificate-authority-data")}
        spec["cluster"] = told
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
    own = {str(e.get("name")): str(e.get("value") or "") for e in plugin.get("env") or []}
    try:
        done = subprocess.run(
            [command, *map(str, plugin.get("args") or [])],
            env={**environ, **own, "KUBERNETES_EXEC_INFO": json.dumps(info)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=_PLUGIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unclear(f"{command} gave no credentials in {_PLUGIN_S} s", where=where) from None
    except (OSError, ValueError) as error:
        hint = str(plugin.get("installHint") or "")[:300] or None
        raise Denied(f"{command} cannot be run: {error}", where=where, hint=hint) from None
    if done.returncode != 0:
        raise Denied(f"{command} gives no credentials: exit {done.returncode}", where=where)
    try:
        status = json.loads(done.stdout)["status"]
        token, pem = status.get("token"), None
        if status.get("clientCertificateData"):
            pem = f"{status['clientCertificateData']}\n{status['clientKeyData']}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Denied(f"{command} answers with no ExecCredential", where=where) from None
    return token, pem


def _text(section: dict[str, Any], key: str, folder: Path, source: str) -> str | None:
    """What is given as a file, or in place of it as data."""
    data, file = section.get(f"{key}-data"), section.get(key)
    if data:
        try:
            return base64.b64decode(str(data), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise InputError(f"{key}-data is not base64", where=source) from None
    return None if not file else _read(folder / str(file), source)


def _read(path: Path, source: str) -> str:
    try:
        return read_text(path)
    except InputError as error:
        raise InputError(f"{path} {error.what}", where=source) from None


def _named(
    top: dict[str, Any], items: str, item: str, name: str | None, source: str
) -> dict[str, Any]:
    there = [each for each in top.get(items) or [] if isinstance(each, dict)]
    for each in there:
        if each.get("name") == name and isinstance(each.get(item), dict):
            found: dict[str, Any] = each[item]
            return found
    known = ", ".join(str(each.get("name")) for each in there[:8]) or "none"
    raise InputError(f"has no {item} {name!r}", where=source, hint=f"There are: {known}.")


def _plain(node: Node) -> Any:
    """A YAML value; scalars as they are written."""
    if node.fields is not None:
        return {key: _plain(value) for key, (_, value) in node.fields.items()}
    if node.items is not None:
        return [_plain(item) for item in node.items]
    return None if node.is_null else node.text
