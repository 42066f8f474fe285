"""Measure the page of a plan with 5,000 quotes in a browser, into docs/benchmarks.md.

The job could run on nearly everything that is for sale, so the page is as large as pages get.
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from bench import MLBROKER, PAGE, Figure, run
from markers import replace_block, table
from playwright.sync_api import Page, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ROUNDS = 5
LEAST_QUOTES = 5000
JOB = """\
name: everything
resources: {cpus: 1+}
run: python train.py
broker:
  work: {steps: 12000}
  checkpoint: {path: checkpoints/, every: 10m}
"""
MEASURED = """\
job,config,cloud,instance_type,time_s,steps,price_per_hour_usd
everything,m5.large,aws,m5.large,1.9,1,0.096
everything,m5.xlarge,aws,m5.xlarge,1.1,1,0.192
"""
# Changes a control, and waits until what comes of it is painted.
PAINTED = """async ([selector, value]) => {
  const control = document.querySelector(selector);
  const begin = performance.now();
  if (value === null) {
    control.click();
  } else {
    control.value = value;
    control.dispatchEvent(new Event("input", { bubbles: true }));
  }
  for (let frame = 0; frame < 2; frame++) {
    await new Promise((done) => requestAnimationFrame(done));
  }
  return (performance.now() - begin) / 1000;
}"""


def quotes_of(file: Path) -> tuple[int, int]:
    """How many quotes a page has, and how many rows with what was rejected."""
    for island in re.findall(r'id="rows-\d+">(.*?)</script>', file.read_text("utf-8")):
        rows = json.loads(island)
        for column in rows["columns"]:
            if column["name"] == "rank":
                return sum(rank is not None for rank in column["numbers"]), rows["rows"]
    raise SystemExit("the page has no table of machines")


def opening_s(page: Page, file: Path) -> float:
    """From the click to a page whose charts are drawn and whose controls answer."""
    begin = perf_counter()
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    return perf_counter() - begin


def measure(folder: Path) -> list[Figure]:
    home, job, file = folder / "home", folder / "job.yaml", folder / "plan.html"
    job.write_text(JOB)
    (folder / "measured.csv").write_text(MEASURED)
    plan = [MLBROKER, "plan", str(job), "--measure", str(folder / "measured.csv")]
    run(plan, home)  # builds the index
    written = min(
        (run([*plan, "--html", str(file)], home) for _ in range(3)), key=lambda t: t.seconds
    )
    quotes, rows = quotes_of(file)
    if quotes < LEAST_QUOTES:
        raise SystemExit(f"only {quotes} quotes: the job asks for too much")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        opening = min(opening_s(page, file) for _ in range(ROUNDS))
        filtering = max(
            page.evaluate(PAINTED, ["[data-filter=cloud]", cloud]) for cloud in ("gcp", "aws", "")
        )
        sorting = max(
            page.evaluate(PAINTED, ["th[data-column=usd] button", None]) for _ in range(2)
        )
        browser.close()
    what = f"{quotes:,} quotes, {rows:,} rows"
    megabytes = file.stat().st_size / 1e6
    return [
        Figure("Size of the page", megabytes, 3, "MB", f"{what}, the charts' library included"),
        Figure("From opening it to charts drawn and controls that answer", opening, 2, "s", ""),
        Figure("A filter, until table and chart are painted anew", filtering, 0.5, "s", ""),
        Figure("Sorting, the same", sorting, 0.5, "s", ""),
        Figure("`plan --html`, from an empty process", written.seconds, 5, "s", ""),
    ]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="mlbroker-bench-") as folder:
        figures = measure(Path(folder))
    rows = table(["what", "measured", "target", "of which", ""], [f.cells() for f in figures])
    version = subprocess.run([CHROMIUM, "--version"], capture_output=True, text=True, check=True)
    machine = (
        f"{os.cpu_count()} cores, {version.stdout.split(' built')[0].strip()}, {platform.system()}"
    )
    body = (
        f"{rows}\n\nThe fastest of {ROUNDS} openings, the slowest of the changes.\n"
        f"{datetime.now(UTC):%Y-%m-%d}, on {machine}; `make bench-pages`."
    )
    PAGE.write_text(replace_block(PAGE.read_text("utf-8"), "pages", body), encoding="utf-8")
    print(rows)
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
