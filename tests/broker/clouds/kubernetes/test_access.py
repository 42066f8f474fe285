"""Whose credentials are used, which server is believed, and what of a kubeconfig is refused."""

import base64
import subprocess
from pathlib import Path

import pytest
from tests.support.kubernetes.server import StrictKubernetes, certificates, kubeconfig

from mlbroker.broker.clouds.interface import Denied, Unclear
from mlbroker.broker.clouds.kubernetes import access
from mlbroker.broker.clouds.kubernetes.access import access_to
from mlbroker.broker.clouds.kubernetes.calls import Calls
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.clusters import Cluster

CLUSTER = Cluster(image="i", claim="c", folder="/f")


def config(folder: Path, user: str = "{token: t}", cluster: str = "", more: str = "") -> Path:
    path = folder / "config"
    path.write_text(
        "current-context: one\n"
        f"clusters: [{{name: c, cluster: {{server: 'https://k.example:6443'{cluster}}}}}]\n"
        f"users: [{{name: u, user: {user}}}]\n"
        "contexts:\n- {name: one, context: {cluster: c, user: u, namespace: ml}}\n"
        "- {name: two, context: {cluster: c, user: u}}\n" + more
    )
    return path


def opened(path: Path, cluster: Cluster = CLUSTER) -> access.Access:
    return access_to(cluster, {"KUBECONFIG": str(path), "PATH": "/usr/bin:/bin"})


def test_token_context_and_namespace(tmp_path: Path) -> None:
    found = opened(config(tmp_path))
    assert (found.server, found.token, found.namespace) == ("https://k.example:6443", "t", "ml")
    assert found.headers == {"Authorization": "Bearer t"}
    assert opened(config(tmp_path), Cluster("i", "c", "/f", context="two")).namespace == "default"
    named = Cluster("i", "c", "/f", context="two", namespace="own")
    assert opened(config(tmp_path), named).namespace == "own"
    (tmp_path / "t").write_text("from-a-file\n")
    assert opened(config(tmp_path, "{tokenFile: t}")).token == "from-a-file"


@pytest.mark.parametrize(
    ("user", "cluster", "says"),
    [
        ("{token: t}", ", insecure-skip-tls-verify: true", "certificate is always checked"),
        ("{token: t}", ", proxy-url: 'http://p'", "HTTPS_PROXY"),
        ("{username: a, password: b}", "", "use a token or a certificate"),
        ("{auth-provider: {name: gcp}}", "", "exec:"),
        ("{token: t, as: root}", "", "nobody else's name"),
        ("{client-certificate-data: '!!'}", "", "not base64"),
        ("{client-certificate-data: 'YQ=='}", "", "without the other"),
        ("{client-certificate: gone.crt, client-key: gone.key}", "", "no such file"),
        ("{token: t}", ", certificate-authority-data: 'YQ=='", "certificates cannot be used"),
        ("{exec: {command: no-such-plugin, apiVersion: v1}}", "", "cannot be run"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    user: str, cluster: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises((InputError, Denied)) as refused:
        opened(config(tmp_path, user, cluster))
    assert says in str(refused.value)
    assert str(tmp_path / "config") in str(refused.value)


def test_a_plain_http_server_is_refused_but_on_loopback(tmp_path: Path) -> None:
    path = config(tmp_path)
    path.write_text(path.read_text().replace("https://k.example:6443", "http://k.example"))
    with pytest.raises(InputError, match="no https address"):
        opened(path)
    path.write_text(path.read_text().replace("http://k.example", "http://127.0.0.1:8001"))
    assert opened(path).tls is None


def test_what_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There are: one, two"):
        opened(config(tmp_path), Cluster("i", "c", "/f", context="three"))
    with pytest.raises(InputError, match="names several files"):
        access_to(CLUSTER, {"KUBECONFIG": "/a:/b"})
    with pytest.raises(InputError, match="no such file"):
        access_to(CLUSTER, {"KUBECONFIG": str(tmp_path / "none")})
    (tmp_path / "list").write_text("[]")
    with pytest.raises(InputError, match="no kubeconfig"):
        opened(tmp_path / "list")


def test_a_program_is_asked_for_credentials_as_kubectl_asks(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(
        '#!/bin/sh\necho "$KUBERNETES_EXEC_INFO $1 $MODE" > "$0.asked"\n'
        'echo \'{"kind": "ExecCredential", "status": {"token": "given"}}\'\n'
    )
    plugin.chmod(0o755)
    user = (
        "{exec: {command: ./plugin, args: [login], env: [{name: MODE, value: quiet}],"
        " apiVersion: client.authentication.k8s.io/v1, provideClusterInfo: true}}"
    )
    assert opened(config(tmp_path, user)).token == "given"
    asked = (tmp_path / "plugin.asked").read_text()
    assert asked.endswith(" login quiet\n")
    assert '"server": "https://k.example:6443"' in asked
    plugin.write_text("#!/bin/sh\nexit 4\n")
    with pytest.raises(Denied, match="exit 4"):
        opened(config(tmp_path, user))
    plugin.write_text("#!/bin/sh\necho '{}'\n")
    with pytest.raises(Denied, match="no ExecCredential"):
        opened(config(tmp_path, user))


def test_a_client_certificate_is_loaded_and_left_in_no_file(tmp_path: Path) -> None:
    server, _ = certificates(tmp_path)
    text = server.read_text()
    certificate, key = text.split("-----BEGIN PRIVATE KEY-----")
    data = [
        base64.b64encode(t.encode()).decode()
        for t in (certificate, "-----BEGIN PRIVATE KEY-----" + key)
    ]
    user = f"{{client-certificate-data: {data[0]}, client-key-data: {data[1]}}}"
    found = opened(config(tmp_path, user))
    assert found.token is None
    assert found.tls is not None
    left = subprocess.run(
        ["find", "/tmp", "-maxdepth", "1", "-name", "mlbroker-*.pem"], capture_output=True
    )
    assert left.stdout == b""


def test_in_a_pod_its_own_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, authority = certificates(tmp_path)
    authority.rename(tmp_path / "ca.crt")
    (tmp_path / "token").write_text("of-the-pod")
    (tmp_path / "namespace").write_text("team")
    monkeypatch.setattr(access, "_POD", tmp_path)
    inside = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443", "HOME": "/no"}
    found = access_to(CLUSTER, inside)
    assert (found.server, found.namespace) == ("https://[fd00::1]:443", "team")
    assert found.token == "of-the-pod"


def test_a_server_that_another_authority_signed_is_not_believed(
    world: StrictKubernetes, tmp_path: Path
) -> None:
    _, other = certificates(tmp_path)
    path = kubeconfig(world, tmp_path)
    mine = base64.b64encode(world.authority.read_bytes()).decode()
    path.write_text(path.read_text().replace(mine, base64.b64encode(other.read_bytes()).decode()))
    calls = Calls(lambda: opened(path))
    with pytest.raises(Unclear, match="CERTIFICATE_VERIFY_FAILED"):
        calls.list("jobs")
    assert world.calls == [], "no token was sent"
