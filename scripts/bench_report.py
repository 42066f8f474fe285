"""Measures a report on 100,000 runs, into docs/report.md: seconds, and memory at its peak."""

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.support.report_ledgers import many, write

MLBROKER = str(Path(sys.executable).with_name("mlbroker"))
RUNS = int(os.environ.get("RUNS", "100000"))
DOCUMENT = Path("docs/report.md")
SENTENCE = re.compile(r"A report on [\d,]+ runs takes .*? \(`make bench-report`\)\.")


def main() -> None:
    """Make the ledger, time the command, write the sentence."""
    with tempfile.TemporaryDirectory() as home:
        write(Path(home), many(RUNS, 365, seed=1, end=datetime.now(UTC)))
        begin = time.monotonic()
        command = [MLBROKER, "report", "--since", "2020-01-01"]
        environment = os.environ | {"MLBROKER_HOME": home}
        text = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout
        took_s = time.monotonic() - begin
    memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    assert f"{RUNS:,} runs" in text
    sentence = (
        f"A report on {RUNS:,} runs takes {took_s:.1f} s and {memory_mb:.0f} MB "
        "(`make bench-report`)."
    )
    DOCUMENT.write_text(SENTENCE.sub(sentence, DOCUMENT.read_text()))
    print(sentence)


if __name__ == "__main__":
    main()
