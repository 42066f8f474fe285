"""Measure how fast mlbroker starts, as ratios to the imports of its kind, in one run.

Every command is run in turn, round after round, and its fastest time counts: what else the machine
does in the meantime slows all of them, and rarely all rounds of one. Prints a table, writes it into
docs/benchmarks.md, and fails when a target is missed.
"""

import csv
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from markers import replace_block, table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
PYTHON = sys.executable
MLBROKER = str(Path(PYTHON).with_name("mlbroker"))
PLAN = [MLBROKER, "plan", str(ROOT / "examples" / "sentiment" / "job.yaml")]
IMPORTS = [PYTHON, "-c", "import typer, rich, pydantic, yaml"]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "15"))
COPIES = 10
MEASURED = """\
job,config,cloud,instance_type,time_s,steps,price_per_hour_usd
sentiment,m5.large,aws,m5.large,0.04,1,0.096
sentiment,c6i.xlarge,aws,c6i.xlarge,0.03,1,0.17
"""
MIB = 2**20


@dataclass(frozen=True)
class Timing:
    """The fastest of several runs of a command, and the most memory that any took.

    `cpu_s` is the processor time: the same on a busy machine, where everything takes longer.
    """

    seconds: float
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Figure:
    """One line of the result: a measured value under a limit."""

    what: str
    value: float
    limit: float
    unit: str
    detail: str

    @property
    def met(self) -> bool:
        return self.value <= self.limit

    def cells(self) -> list[str]:
        shown = [f"{number:.3g} {self.unit}" for number in (self.value, self.limit)]
        return [
            self.what,
            shown[0],
            f"at most {shown[1]}",
            self.detail,
            "" if self.met else "missed",
        ]


def run(command: Sequence[str], home: Path) -> Timing:
    """One run of a command that must succeed, timed from the outside."""
    environment = os.environ | {"MLBROKER_HOME": str(home), "COLUMNS": "100"}
    # An installed program is compiled once; this would have every run compile all of it again.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{errors.read().decode()}")
    return Timing(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def race(commands: dict[str, tuple[Sequence[str], Path]]) -> dict[str, Timing]:
    """The fastest of `ROUNDS` runs of each command in its home, taken in turn after a first,
    unmeasured one.
    """
    for command, home in commands.values():
        run(command, home)
    runs: dict[str, list[Timing]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, (command, home) in commands.items():
            runs[name].append(run(command, home))
    return {
        name: Timing(
            min(r.seconds for r in taken),
            min(r.cpu_s for r in taken),
            max(r.peak_bytes for r in taken),
        )
        for name, taken in runs.items()
    }


def export_prices(home: Path, path: Path) -> None:
    """All embedded offers as a price file."""
    environment = os.environ | {"MLBROKER_HOME": str(home)}
    with path.open("wb") as file:
        subprocess.run(
            [MLBROKER, "prices", "export", "--format", "csv"],
            cwd=ROOT, env=environment, check=True, stdout=file,
        )  # fmt: skip


def multiply(source: Path, target: Path) -> int:
    """The offers of `source` in `COPIES` sets of regions; returns how many `source` has.

    Row by row: a child's peak memory, as the system counts it, is never below its parent's.
    """
    offers = 0
    with source.open(newline="") as rows, target.open("w", newline="") as file:
        reader, writer = csv.DictReader(rows), csv.writer(file)
        writer.writerow(reader.fieldnames or ())
        for row in reader:
            offers += 1
            for copy in range(COPIES):
                suffix = f"-made-up-{copy}" if copy else ""
                writer.writerow((row | {"region": row["region"] + suffix}).values())
    return offers


def measure(folder: Path) -> list[Figure]:
    home = folder / "home"
    run([MLBROKER, "--help"], home)  # compiles what was never run, as an installer does
    first = run(PLAN, home)

    one, ten = folder / "one.csv", folder / "ten.csv"
    export_prices(home, one)
    offers = multiply(one, ten)
    measured = folder / "measured"
    (folder / "measured.csv").write_text(MEASURED)
    anew = folder / "anew"
    for state in (measured, anew):
        run([MLBROKER, "profile", "import", str(folder / "measured.csv")], state)
    (anew / "answers").touch()  # where the folder would be: nothing can be kept
    times = race(
        {
            "imports": (IMPORTS, home),
            "help": ([MLBROKER, "--help"], home),
            "plan": (PLAN, home),
            "measured": (PLAN, measured),
            "anew": (PLAN, anew),
            "one": ([*PLAN, "--prices", str(one)], home),
            "ten": ([*PLAN, "--prices", str(ten)], home),
        }
    )

    def ratio(what: str, name: str, base: str, limit: float) -> Figure:
        ms = [round(times[key].seconds * 1000) for key in (name, base)]
        value = times[name].seconds / times[base].seconds
        return Figure(what, value, limit, "times", f"{ms[0]} ms against {ms[1]} ms")

    return [
        ratio("`mlbroker plan JOB`, warm, against the bare imports", "plan", "imports", 2.0),
        ratio("the same for a job that was measured", "measured", "imports", 3.0),
        ratio("its first plan after a measurement", "anew", "imports", 4.0),
        ratio("`mlbroker --help` against the bare imports", "help", "imports", 1.3),
        Figure(
            "Memory of `plan`, at its peak",
            times["plan"].peak_bytes / MIB,
            200,
            "MiB",
            f"{offers:,} offers",
        ),
        Figure("First `plan` after installation", first.seconds, 5, "s", "builds the index"),
        ratio(f"`plan` with {offers * COPIES:,} offers against {offers:,}", "ten", "one", 2.0),
    ]


def write_page(figures: Sequence[Figure]) -> None:
    rows = table(["what", "measured", "target", "of which", ""], [f.cells() for f in figures])
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
    body = (
        f"{rows}\n\n"
        f'The bare imports are `python -c "{IMPORTS[-1]}"`.\n'
        f"Each is the fastest of {ROUNDS} runs taken in turn, "
        f"{datetime.now(UTC):%Y-%m-%d}, on {machine}; `make bench` measures them anew."
    )
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(replace_block(text, "start-up", body), encoding="utf-8")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="mlbroker-bench-") as folder:
        figures = measure(Path(folder))
    write_page(figures)
    print(table(["what", "measured", "target", "of which", ""], [f.cells() for f in figures]))
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
