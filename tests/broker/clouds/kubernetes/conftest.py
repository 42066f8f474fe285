"""One strict cluster a module: in virtual time, or with containers that really run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.kubernetes.server import StrictKubernetes, kubeconfig, serving


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictKubernetes]:
    with serving(frozen=True) as world, pytest.MonkeyPatch.context() as patch:
        path = kubeconfig(world, tmp_path_factory.mktemp("kubernetes"))
        patch.setenv("KUBECONFIG", str(path))
        yield world


@pytest.fixture
def world(frozen: StrictKubernetes, monkeypatch: pytest.MonkeyPatch) -> StrictKubernetes:
    """A cluster in virtual time, new for each test; the client's pauses pass on its clock."""
    frozen.calm()
    monkeypatch.setattr("mlbroker.broker.http.time.sleep", frozen.clock.advance)
    return frozen


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictKubernetes]:
    """A cluster whose containers really run."""
    with serving() as world:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(world, tmp_path)))
        yield world
