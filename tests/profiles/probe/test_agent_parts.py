"""The parts of the agent that can be held to their word without a job."""

import ast
import os
import shlex
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.mlbroker import PATIENCE_S

from mlbroker.broker.measure.agent_link import PROBE_FOLDER
from mlbroker.profiles.probe.mlbroker_agent.gauges import GpuGauge, PackageEnergy
from mlbroker.profiles.probe.mlbroker_agent.hooked import Deaf
from mlbroker.profiles.probe.mlbroker_agent.machine import describe, usable_cores
from mlbroker.profiles.probe.mlbroker_agent.output import CHUNK, OutputScanner
from mlbroker.profiles.probe.mlbroker_agent.processes import Process
from mlbroker.profiles.probe.mlbroker_agent.python_path import with_probe
from mlbroker.profiles.probe.mlbroker_agent.step_files import EventFiles, ProgressFile
from mlbroker.profiles.probe.mlbroker_agent.step_lines import MAX_LINE

SOURCES = sorted(PROBE_FOLDER.rglob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_probe_is_python_3_8_and_standard_library_only(source: Path) -> None:
    tree = ast.parse(source.read_text(), feature_version=(3, 8))
    names = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        str(node.module).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 0
    }
    # Its packages travel together.
    together = {path.parent.name for path in SOURCES}
    assert names <= together | set(sys.stdlib_module_names)


def seen(scanner: OutputScanner, text: bytes) -> list[tuple[str, int, int]]:
    return [tuple(found) for found in scanner.feed(text)]  # type: ignore[misc]


def test_markers_are_found_across_chunks_and_carriage_returns() -> None:
    scanner = OutputScanner(None)
    assert seen(scanner, b"hello ::mlbroker st") == []
    assert seen(scanner, b"ep=12/300\r") == [("marker", 12, 300)]
    assert seen(scanner, b"::mlbroker step=13/300\n::mlbroker step=14/300\n") == [
        ("marker", 14, 300)
    ]


def test_the_last_word_on_noise_is_kept_until_it_is_asked_for() -> None:
    scanner = OutputScanner(None)
    scanner.feed(b"::mlbroker noise=100 batch=32\n::mlbroker noise=1.5e3 batch=64\n::mlbroker noi")
    assert scanner.noise() == "1.5e3 64"
    assert scanner.noise() is None
    scanner.feed(b"se=nan batch=64\r")
    assert scanner.noise() == "nan 64"
    scanner.feed(b"::mlbroker noise=12\n::mlbroker noise=12 batch=-1\n")
    assert scanner.noise() is None


def test_numbers_that_begin_anew_in_each_epoch_become_one_count() -> None:
    scanner = OutputScanner(r"batch (\d+)")
    counts = [seen(scanner, b"batch %d\n" % n)[0][1] for n in (1, 5, 10, 1, 5, 10, 1)]
    assert counts == [1, 5, 10, 11, 15, 20, 21]


@pytest.mark.parametrize("by", [1, 3, 10])
def test_a_count_of_what_is_left_is_no_measure(by: int) -> None:
    scanner = OutputScanner(r"(\d+) left")
    found = [step for n in range(100, 0, -by) for step in seen(scanner, b"%d left\n" % n)]
    assert found == [("regex", 100, 0)]


def test_an_endless_line_and_a_flood_cost_no_memory() -> None:
    scanner = OutputScanner(r"(\d+)")
    for _ in range(200):
        scanner.feed(b"x" * CHUNK)
    assert scanner.bytes == 200 * CHUNK
    assert len(scanner.tail) <= 8192
    assert len(scanner._pending) <= MAX_LINE


def test_event_files_are_read_line_by_line_as_they_grow(tmp_path: Path) -> None:
    events = EventFiles(str(tmp_path))
    path = tmp_path / "torch.42"
    path.write_text("# torch 2.0\n1000000000 1 10 0\n20000")
    steps, notes = events.read()
    assert [(s.source, s.pid, s.time_s, s.done, s.total) for s in steps] == [
        ("torch", 42, 1.0, 1, 10)
    ]
    assert [(n.key, n.value) for n in notes] == [("torch", "2.0")]
    with path.open("a") as file:
        file.write("00000 2 10 500000000\nrubbish\n")
    steps, notes = events.read()
    assert [(s.time_s, s.done, s.waited_s) for s in steps] == [(2.0, 2, 0.5)]
    assert events.read() == ([], [])


def test_a_progress_file_tells_its_last_line_once(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    progress = ProgressFile(str(path))
    assert progress.read(1.0) == []
    path.write_text("1/10\n2/10\n")
    [step] = progress.read(2.0)
    assert (step.source, step.done, step.total, step.time_s) == ("file", 2, 10, 2.0)
    assert progress.read(3.0) == []


def test_gpus_are_followed_through_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stand-in that answers as two GPUs do; machines without GPUs have no such program.
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\ncase $1 in *name*) printf 'NVIDIA L4, 23034\\nNVIDIA L4, 23034\\n';;\n"
        "*) printf '50, 1024, 60.5\\n70, 2048, 70.5\\n'; exec sleep 60;; esac\n"
    )
    tool.chmod(tool.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    gpus = describe(0.0)["gpus"]
    assert [round(gpu["memory_gib"], 1) for gpu in gpus] == [22.5, 22.5]
    gauge = GpuGauge()
    gauge.start(len(gpus))
    assert gauge.fileno is not None
    deadline = time.monotonic() + PATIENCE_S
    while not gauge.state and time.monotonic() < deadline:
        gauge.feed(os.read(gauge.fileno, 4096))
    gauge.stop()
    assert gauge.state == {
        "peak_gpu_memory_gib": 3.0,
        "gpu_utilisation": 0.6,
        "gpu_power_w": 131.0,
    }


def test_energy_counters_that_wrap_around_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlbroker.profiles.probe.mlbroker_agent.package_energy.RAPL", str(tmp_path))
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    (tmp_path / "intel-rapl:0:0").mkdir()
    counter = package / "energy_uj"
    counter.write_text("900")
    (package / "max_energy_range_uj").write_text("1000")
    energy = PackageEnergy()
    counter.write_text("100")
    assert energy.joules() == pytest.approx(200e-6)
    counter.unlink()
    assert energy.joules() is None


def test_the_machine_describes_itself() -> None:
    facts = describe(0.05)
    assert facts["vcpus"] >= 1
    assert facts["memory_gib"] > 0
    assert facts["memory_gb_per_s"] > 0.1
    assert facts["arch"] in {"x86_64", "arm64"}


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/", {"cpu.max": "100000 100000"}, 1),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/", {"cpu.max": "240000 100000"}, 2),
        ("0::/", {"cpu.max": "5000 100000"}, 1),
        ("0::/pod/job", {"pod/cpu.max": "300000 100000", "pod/job/cpu.max": "max 100000"}, 3),
        ("0::/pod/job", {"pod/cpu.max": "max 100000", "pod/job/cpu.max": "200000 100000"}, 2),
        ("0::/of/the/host", {"cpu.max": "400000 100000"}, 4),  # the root of its own namespace
        ("0::/../sibling", {"cpu.max": "rubbish"}, 8),
        ("4:cpu,cpuacct:/docker/a", {"cpu,cpuacct/docker/a/cpu.cfs_quota_us": "150000",
                                     "cpu,cpuacct/docker/a/cpu.cfs_period_us": "50000"}, 3),
        ("4:cpu:/a", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("1:cpu:/\n0::/x", {"unified/x/cpu.max": "200000 100000"}, 2),
    ],
)  # fmt: skip
def test_a_quota_of_processor_time_counts_as_cores(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    groups: str,
    files: dict[str, str],
    cores: int,
) -> None:
    where = "mlbroker.profiles.probe.mlbroker_agent.machine"
    (tmp_path / "own").write_text(groups + "\n")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(f"{where}.OWN_GROUPS", str(tmp_path / "own"))
    monkeypatch.setattr(f"{where}.CGROUPS", str(tmp_path))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert usable_cores() == cores


@pytest.mark.parametrize(
    ("script", "sees"),
    [
        ("PYTHONPATH=src {python}", "/probe:src"),
        ('A=1 PYTHONPATH="src:x y" {python}', "/probe:src:x y"),
        ("export PYTHONPATH=$PWD/src\n{python}", "/probe:{cwd}/src"),
        ("cd .; env PYTHONPATH=src {python}", "/probe:src"),
        ("if true; then PYTHONPATH=$PYTHONPATH:src {python}; fi", "/probe:/before:src"),
        ("X='PYTHONPATH=src' {python}", "/before"),
        ("cat >/dev/null <<E\nPYTHONPATH=a\nE\nPYTHONPATH=src {python}", "src"),
    ],
)
def test_a_script_that_sets_its_own_path_keeps_the_probe_on_it(
    tmp_path: Path, script: str, sees: str
) -> None:
    show = f"{shlex.quote(sys.executable)} -c 'import os; print(os.environ[\"PYTHONPATH\"])'"
    text = with_probe(script.replace("{python}", show), "/probe")
    done = subprocess.run(
        ["bash", "-c", text],
        env={**os.environ, "PYTHONPATH": "/before"},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == sees.replace("{cwd}", str(tmp_path))


@pytest.mark.parametrize(
    ("options", "env", "why"),
    [
        ([], {"PYTHONPATH": "a:/probe", "MLBROKER_PROBE_DIR": "/x"}, None),
        ([], {"PYTHONPATH": "src", "MLBROKER_PROBE_DIR": "/x"}, "a PYTHONPATH of its own, src"),
        (["-uI"], {"PYTHONPATH": "/probe", "MLBROKER_PROBE_DIR": "/x"}, "with -I"),
        (["-W", "ignore"], {"PYTHONPATH": "/probe"}, "without the variables"),
    ],
)
def test_a_python_that_cannot_see_the_probe_is_named(
    options: list[str], env: dict[str, str], why: str | None
) -> None:
    command = [sys.executable, *options, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as job:
        assert job.stdout is not None
        job.stdout.readline()  # it has become a Python
        deaf = Deaf("/probe")
        found = deaf.among([Process(job.pid, 0, False, 0.0, 0)])
        assert deaf.among([Process(job.pid, 0, False, 0.0, 0)]) == []
    assert len(found) == (why is not None)
    assert why is None or why in found[0]
