"""Holds our power of this machine against CodeCarbon's offline tracker, into docs/carbon.md.

CodeCarbon is installed into a folder of its own: mlbroker does not need it.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from mlbroker.broker.evidence.hardware import hardware
from mlbroker.broker.guest.machine import describe
from mlbroker.pricing.power import AVERAGE_CPU, Draw

SECONDS = int(os.environ.get("SECONDS_EACH", "60"))
DOCUMENT = Path("docs/carbon.md")
PLACE = re.compile(r"<!-- codecarbon -->.*<!-- end of codecarbon -->", re.DOTALL)
# Keeps so many cores busy under the tracker, and tells watts by part.
TRACKED = """
import json, multiprocessing, sys, time
from codecarbon import OfflineEmissionsTracker
busy, seconds = int(sys.argv[1]), float(sys.argv[2])
def work(_):
    end = time.monotonic() + seconds
    while time.monotonic() < end: sum(range(10000))
tracker = OfflineEmissionsTracker(country_iso_code="USA", log_level="error", save_to_file=False,
                                  measure_power_secs=2, allow_multiple_runs=True)
tracker.start()
if busy:
    with multiprocessing.Pool(busy) as pool: pool.map(work, range(busy))
else:
    time.sleep(seconds)
tracker.stop()
told = tracker.final_emissions_data
watts = lambda kwh: kwh * 3.6e6 / told.duration
print("RESULT", json.dumps({"cpu_w": watts(told.cpu_energy), "memory_w": watts(told.ram_energy),
                            "how": str(told.cpu_model)}))
"""


def tracked(python: Path, busy: int) -> dict[str, float]:
    """Watts by CodeCarbon."""
    command = [str(python), "-c", TRACKED, str(busy), str(SECONDS)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    line = next(line for line in text.splitlines() if line.startswith("RESULT"))
    found: dict[str, float] = json.loads(line.removeprefix("RESULT"))
    return found


def main() -> None:
    """Measure idle, half and fully busy, and write the table."""
    here = hardware(describe(0.0))
    draw = Draw.of(here, AVERAGE_CPU)
    assert draw is not None
    cores = int(here.vcpus)
    lines = [
        "| cores busy | CodeCarbon: processors | memory | mlbroker: processors | memory |",
        "| --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder, "bin", "python")
        subprocess.run([python, "-m", "pip", "-q", "install", "codecarbon>=3,<4"], check=True)
        for busy in sorted({0, cores // 2, cores}):
            theirs = tracked(python, busy)
            lines.append(
                f"| {busy} of {cores} | {theirs['cpu_w']:.1f} W | {theirs['memory_w']:.1f} W "
                f"| {draw.cpu_w(busy / cores):.1f} W | {draw.memory_w:.1f} W |"
            )
    table = "\n".join(["<!-- codecarbon -->", *lines, "<!-- end of codecarbon -->"])
    DOCUMENT.write_text(PLACE.sub(table, DOCUMENT.read_text()))
    print(table)


if __name__ == "__main__":
    main()
