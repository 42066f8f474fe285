"""Measuring real processes on this machine: well-behaved ones, broken ones and hostile ones."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from tests.support.mlbroker import processes_with

from mlbroker.broker.errors import InputError
from mlbroker.broker.measure import profile
from mlbroker.broker.measure.agent_link import ProcessLink
from mlbroker.broker.measure.document import measurement_document
from mlbroker.broker.measure.watch import Observation
from mlbroker.profiles.job import Job, ProfileLimits, Work
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.stepping.stopping import StopRule

Measure = Callable[..., tuple[Measurement, Observation]]


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Measure]:
    """Measures a command; afterwards nothing of it may be alive."""
    monkeypatch.setattr(profile, "BANDWIDTH_S", 0.0)
    mark = f"MARK={uuid4().hex}"

    def run(
        command: str, *, cap_s: float = 20.0, rule: StopRule | None = None, **fields: object
    ) -> tuple[Measurement, Observation]:
        job = Job(
            "test",
            command,
            workdir=str(tmp_path),
            envs={"MARK": mark.partition("=")[2], "PYTHON": sys.executable},
            profile=ProfileLimits(Decimal(1), cap_s),
        )
        done = profile.profile_here(replace(job, **fields), rule or StopRule())  # type: ignore[arg-type]
        return done.measurement, done.seen

    yield run
    assert alive(mark) == []


def alive(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def python(code: str) -> str:
    return f"\"$PYTHON\" - <<'END'\n{code}\nEND"


def highest(found: Measurement) -> float:
    """The upper edge of what a step is said to take."""
    return float(measurement_document(found)["step_time_s"]["p90"])


STEPS = "import time\nfor i in range(1, {n} + 1):\n    time.sleep({s})\n    print({text}, {end})"


def counting(text: str = 'f"::mlbroker step={i}/{400}"', n: int = 400, s: float = 0.005) -> str:
    return python(STEPS.format(n=n, s=s, text=text, end=""))


@pytest.mark.parametrize(
    ("command", "fields", "source"),
    [
        (counting(), {}, "marker"),
        (counting('f"step {i} of 400"'), {"progress": r"step (\d+) of (?P<total>\d+)"}, "regex"),
        (counting('f"step {i}"'), {"progress": r"step (?P<step>\d+)", "work": Work(400)}, "regex"),
        (
            python(
                "import time\nfrom mlbroker_probe import steps\n"
                "for i in steps(range(400)): time.sleep(0.005)"
            ),
            {},
            "steps",
        ),
        (
            "for i in $(seq 400); do sleep 0.02; echo $i/400 > $MLBROKER_PROGRESS_FILE; done",
            {},
            "file",
        ),
    ],
)
def test_each_way_to_count_leads_to_the_same(
    measure: Measure, command: str, fields: dict[str, object], source: str
) -> None:
    found, seen = measure(command, **fields)
    assert seen.series is not None
    assert (found.status, found.steps, seen.series.source) == (Status.OK, 400, source)
    least = 0.02 if source == "file" else 0.005
    # A line has the time at which it was read: one that is late at the start of the window makes
    # the mean a little short, which the interval allows for.
    assert least <= highest(found)
    assert found.time_s < 20 * least
    assert found.extra["source"] == source
    assert int(found.extra["steps_seen"]) < 400
    assert found.hardware is not None
    assert found.hardware.vcpus >= 1


def test_a_job_that_ends_within_the_measurement_is_known_exactly(measure: Measure) -> None:
    found, seen = measure(
        counting(n=60, s=0.01, text='f"::mlbroker step={i}/{60}"'), rule=StopRule(max_steps=1000)
    )
    assert found.steps == 60
    assert found.overhead_s + 60 * found.time_s == pytest.approx(seen.end["time_s"], rel=0.02)


def test_setup_runs_first_and_is_not_part_of_the_job(measure: Measure) -> None:
    found, seen = measure("cat made.txt; " + counting(), setup="sleep 0.3; echo yes > made.txt")
    assert seen.setup_s >= 0.3
    assert float(found.extra["setup_s"]) >= 0.3
    assert found.overhead_s < 5


def test_a_job_without_steps_that_ends_is_measured_as_a_whole(measure: Measure) -> None:
    found, _ = measure("sleep 1.2")
    assert (found.steps, found.status) == (None, Status.OK)
    assert 1.2 <= found.time_s < 60


def test_a_job_that_ends_after_too_few_steps_is_measured_as_a_whole(measure: Measure) -> None:
    code = "import time\nfor i in (1, 2):\n    time.sleep(0.6)\n    print('step', i, flush=True)"
    found, _ = measure(python(code), progress=r"step (\d+)")
    assert found.steps is None
    assert found.time_s > 1.2


def test_a_job_that_ends_at_once_has_nothing_to_measure(measure: Measure) -> None:
    with pytest.raises(InputError, match="without a step"):
        measure("echo all done")


def test_a_job_that_prints_nothing_is_told_the_ways(measure: Measure) -> None:
    with pytest.raises(InputError, match="mlbroker_probe") as caught:
        measure("sleep 60", cap_s=1.5)
    assert "0 bytes" in caught.value.what


def test_a_failing_job_is_a_result_with_its_reason(measure: Measure) -> None:
    found, _ = measure("echo no such dataset >&2; exit 3")
    assert found.status is Status.FAILED
    assert found.reason is not None
    assert "exit code 3" in found.reason
    assert "no such dataset" in found.reason


def test_a_failing_setup_is_named_as_such(measure: Measure) -> None:
    found, _ = measure("echo never", setup="exit 7")
    assert found.reason is not None
    assert "set-up" in found.reason
    assert "7" in found.reason


@pytest.mark.parametrize("command", ["echo MemoryError; exit 1", "kill -9 $$"])
def test_out_of_memory_is_recognised(measure: Measure, command: str) -> None:
    found, _ = measure(command)
    assert found.reason is not None
    assert "out of memory" in found.reason


def test_a_job_that_needs_a_terminal_says_so_itself(measure: Measure) -> None:
    found, _ = measure(python("import os; os.get_terminal_size()"))
    assert "asks for a terminal" in str(found.reason)
    found, _ = measure(python("input()"))
    assert "asks for a terminal" in str(found.reason)


def test_a_job_that_detaches_itself_is_refused_and_ended(measure: Measure) -> None:
    detached = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    os.fork() or time.sleep(60)"
    )
    with pytest.raises(InputError, match="in the background"):
        measure(python(detached))


def test_children_that_ignore_signals_and_sessions_die_too(measure: Measure) -> None:
    mark = f"MARK={uuid4()}"
    stubborn = "(trap '' TERM HUP INT; setsid sleep 600 & while :; do sleep 60; done) & "
    measure(f"export {mark}; {stubborn}{counting()}", rule=StopRule(max_steps=20))
    assert processes_with(mark) == []


def test_the_cap_holds_whatever_the_job_does(measure: Measure) -> None:
    with pytest.raises(InputError):
        measure("trap '' TERM; while :; do :; done", cap_s=2.0)


def test_a_regex_that_explodes_does_not_outlive_the_cap(measure: Measure) -> None:
    with pytest.raises(InputError):
        measure(f"echo {'a' * 60}; while :; do sleep 60; done", cap_s=1.5, progress=r"(a+)+(\d)")


def test_a_flood_is_read_without_being_kept(measure: Measure) -> None:
    code = (
        "import sys, time\nblock = ('x' * 99 + '\\n') * 10000\n"
        "for i in range(1, 61):\n    sys.stdout.write(block)\n"
        "    print(f'::mlbroker step={i}/60', flush=True)\n    time.sleep(0.01)"
    )
    found, seen = measure(python(code), rule=StopRule(max_steps=1000))
    assert seen.end["output_bytes"] > 50_000_000
    assert found.steps == 60


def test_broken_text_is_no_obstacle(measure: Measure) -> None:
    code = (
        "import os, time\nfor i in range(1, 401):\n    time.sleep(0.003)\n"
        "    os.write(1, b'\\xc3\\xff\\x00\\x1b[31m step ' + str(i).encode() + b' \\xe2\\x82\\r')"
    )
    found, _ = measure(python(code), progress=r"step (\d+)", work=Work(400))
    assert found.steps == 400


def test_a_step_count_that_cannot_be_is_not_believed(measure: Measure) -> None:
    with pytest.raises(InputError, match="how many steps the whole job"):
        measure(counting('f"step {i}"'), progress=r"step (\d+)", rule=StopRule(max_steps=50))


def test_memory_of_the_whole_tree_is_its_peak(measure: Measure) -> None:
    code = "import time\nx = bytearray(200 << 20)\ntime.sleep(3)"
    found, _ = measure(python(code))
    assert found.peak_memory_gib is not None
    assert 0.19 < found.peak_memory_gib < 0.35


def test_the_job_cannot_shadow_what_the_agent_uses(measure: Measure, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    os.utime(tmp_path / "json.py")
    found, _ = measure(counting(), rule=StopRule(max_steps=30))
    assert found.status is Status.OK


def test_what_the_gpu_does_is_recorded(
    measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stand-in that answers as the driver's tool does; the machine of a test has no GPU.
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(
        "#!/bin/sh\ncase $1 in *name*) echo 'NVIDIA L4, 23034';;\n"
        "*) while :; do echo '80, 4096, 66'; sleep 0.1; done;; esac\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    found, _ = measure(counting(n=400, s=0.02), rule=StopRule(max_steps=200))
    assert found.gpu_used is True
    assert found.peak_gpu_memory_gib == 4.0
    assert found.hardware is not None
    assert found.hardware.gpu is not None
    assert found.hardware.gpu.model == "L4"
    assert found.extra["gpu_utilisation"] == "0.8"


def test_an_agent_is_not_told_where_the_teams_ledger_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLBROKER_LEDGER", "postgresql://ada:s3cr3t@db/ledger")
    tell = "import json, os; print(json.dumps({'env': dict(os.environ)}))"
    told = ProcessLink([sys.executable, "-c", tell], {"max_time_s": 20}).messages()
    environment = next(message["env"] for message in told if message)
    assert "PATH" in environment
    assert "MLBROKER_LEDGER" not in environment
