"""Draw docs/plan-page.png: the top of a plan's page, as a browser shows it.

Needs Debian's chromium.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_pages import CHROMIUM
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "plan-page.png"
JOB = """\
name: bert-ft
resources: {accelerators: {T4: 1, L4: 1, A10G: 1, V100: 1, A100: 1, H100: 1}}
run: python train.py
broker:
  deadline: 6h
  budget: 10 USD
  work: {steps: 12000}
  checkpoint: {path: checkpoints/, every: 10m}
"""
MEASURED = """\
job,config,cloud,instance_type,time_s,steps,price_per_hour_usd
bert-ft,g4dn.xlarge,aws,g4dn.xlarge,1.1,1,0.526
bert-ft,g5.xlarge,aws,g5.xlarge,0.6,1,1.006
"""


def main() -> int:
    """Plan, open the page, keep what a reader sees first."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        job, measured = Path(folder, "job.yaml"), Path(folder, "measured.csv")
        page_file = Path(folder, "plan.html")
        job.write_text(JOB)
        measured.write_text(MEASURED)
        subprocess.run(
            [Path(sys.executable).with_name("mlbroker"), "plan", job, "--measure", measured,
             "--html", page_file],
            env=os.environ | {"MLBROKER_HOME": folder}, check=True, capture_output=True,
        )  # fmt: skip
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 1010})
        page.goto(page_file.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        page.screenshot(path=PICTURE)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
