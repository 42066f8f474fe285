"""Measures servers of known capacity, into docs/benchmarks.md; SECONDS=40 for a short look.

How often a measurement is near and its bound holds, SIMULATED searches of each server tell: the
same search on the same desks, played with other arrivals and not waited for.
"""

import os
import socket
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from markers import replace_block, table
from tests.support.known_searches import searched
from tests.support.known_servers import DESKS, SHARE, WITHIN_S, truth_rps

from mlbroker.broker.evidence.capacities import LOW_RPS, RPS
from mlbroker.broker.files.job_file import load_job
from mlbroker.broker.measure.capacity import LONGEST_S, CapacityOf

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
SERVERS = ROOT / "tests" / "support" / "known_servers.py"
TARGET = 0.05
SECONDS = float(os.environ.get("SECONDS", LONGEST_S))
AT_ONCE = int(os.environ.get("AT_ONCE", "2"))
SIMULATED = int(os.environ.get("SIMULATED", "6"))
JOB = """
name: {name}
service: {{readiness_probe: /health, replicas: 1, ports: {port}}}
run: exec {python} {servers} {name} {port}
broker:
  profile: {{max_time: {seconds:g}s}}
  service:
    objective: {{latency: {within_ms:g}ms, share: {share}}}
    request: {{path: /classify}}
"""


def measured(name: str) -> tuple[str, float, float, float]:
    """The server, its true capacity, the measured one and its lower bound."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = JOB.format(
        name=name, port=port, python=sys.executable, servers=SERVERS, seconds=SECONDS,
        within_ms=1000 * WITHIN_S, share=SHARE,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "service.yaml")
        path.write_text(text, encoding="utf-8")
        job = load_job(path).job
        row = CapacityOf(job, [], lambda said: print(f"{name}: {said}", flush=True)).here()
    return name, truth_rps(name), float(row.extra[RPS]), float(row.extra[LOW_RPS])


def simulated(name: str) -> list[tuple[float, float]]:
    """Measured and lower bound of each search, as parts of the true capacity."""
    true_rps = truth_rps(name)
    found = (searched(DESKS[name](), seed).result() for seed in range(SIMULATED))
    return [(each.rps / true_rps, each.low_rps / true_rps) for each in found if each is not None]


def simulated_words(names: list[str]) -> str:
    """How many searches came near, and of how many the bound held."""
    with ProcessPoolExecutor(AT_ONCE) as pool:
        ratios = [each for found in pool.map(simulated, names) for each in found]
    near = sum(abs(rps - 1) <= TARGET for rps, _ in ratios)
    held = sum(low <= 1 for _, low in ratios)
    return (
        f"Of {SIMULATED * len(names)} searches played with other arrivals {near} came within 5 %,"
        f" and the lower bound of {held} held."
    )


def main() -> int:
    """Measure all; 1 where one is further off than the target."""
    names = sys.argv[1:] or list(DESKS)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(measured, names))
    rows = [
        [name, f"{true:.1f}", f"{rps:.1f}", f"{rps / true - 1:+.1%}", f"{low:.1f}"]
        for name, true, rps, low in found
    ]
    missed = [name for name, true, rps, _ in found if abs(rps / true - 1) > TARGET]
    said = f"Further off than 5 %: {', '.join(missed)}." if missed else "All are within 5 %."
    for row in rows:
        print("  ".join(row))
    said = f"{said} {simulated_words(names)}"
    print(said)
    if SECONDS >= LONGEST_S and names == list(DESKS):
        head = ["server", "true, a second", "measured", "off by", "lower 90 % bound"]
        told = (
            f"{table(head, rows)}\n\n{said}\n\n{datetime.now(UTC):%Y-%m-%d}, {AT_ONCE} at once;"
            " `make bench-capacity` measures them anew."
        )
        page = replace_block(PAGE.read_text(encoding="utf-8"), "capacity", told)
        PAGE.write_text(page, encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
