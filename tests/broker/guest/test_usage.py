"""What the guest measures of a job's use of its machine: meters, idleness, the saved part."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mlbroker.broker.guest.figures import Figures
from mlbroker.broker.guest.usage import Usage

PATIENCE_S = 30.0


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A machine whose `nvidia-smi` says these lines."""

    def say(lines: str) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\nprintf '{lines}'\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return say


def after_looks(usage: Usage, enough: Callable[[], bool]) -> None:
    """Sample until that is so."""
    usage.start()
    waiting = threading.Event()
    for _ in range(int(PATIENCE_S / 0.02)):
        if enough():
            break
        waiting.wait(0.02)
    usage.stop()
    assert enough()


def usage_of(tmp_path: Path) -> Usage:
    return Usage(lambda: set(), str(tmp_path), every_s=0.02)


def test_the_power_of_all_gpus_is_added_up(tmp_path: Path, gpus: Callable[[str], None]) -> None:
    gpus("50, 1024, 61.5\\n90, 2048, 70.0\\n")
    usage = usage_of(tmp_path)
    after_looks(usage, lambda: usage.mean_gpu_w is not None)
    assert usage.mean_gpu_w == pytest.approx(131.5)
    assert usage.mean_gpu == pytest.approx(0.9)
    assert usage.peak_gpu_memory_gib == 3.0


def test_a_gpu_without_a_meter_is_as_busy_as_it_is(
    tmp_path: Path, gpus: Callable[[str], None]
) -> None:
    gpus("50, 1024, [N/A]\\n")
    usage = usage_of(tmp_path)
    after_looks(usage, lambda: usage.mean_gpu is not None)
    assert (usage.mean_gpu, usage.mean_gpu_w) == (0.5, None)


def test_the_processors_energy_is_of_the_command_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlbroker.broker.guest.package_energy.RAPL", str(tmp_path))
    counter = tmp_path / "intel-rapl:0" / "energy_uj"
    counter.parent.mkdir()
    counter.write_text("1000000")
    usage = usage_of(tmp_path)
    counter.write_text("5000000")
    usage.count_anew()
    counter.write_text("7500000")
    assert usage.package_j == pytest.approx(2.5)


def test_who_does_nothing_is_unused(tmp_path: Path) -> None:
    usage = usage_of(tmp_path)
    after_looks(usage, lambda: usage.unused_s > 0)


def test_a_checkpoint_is_of_the_command_up_to_then(tmp_path: Path) -> None:
    figures = Figures(usage_of(tmp_path), {})
    figures.saved(1.0, now=4.0)
    figures.command_begins(10.0, setup_s=2.0)
    assert (figures.told(20.0) or {})["saved_s"] is None
    figures.saved(3.0, now=20.0)
    assert (figures.told(20.0) or {})["saved_s"] == pytest.approx(7.0)
    figures.command_ends(30.0)
    figures.saved(0.0, now=40.0)
    assert (figures.told(40.0) or {})["saved_s"] == pytest.approx(20.0)
