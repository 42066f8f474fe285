"""Make a sample repository with a pull request, and print the comment `mlbroker check` would write.

The repository is left in `.demo/check`, to look at and to try other options on.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".demo" / "check"
MLBROKER = str(Path(sys.executable).with_name("mlbroker"))

SENTIMENT = """\
name: sentiment
resources: {cpus: 4+, memory: 8+}
setup: pip install -r requirements.txt
run: python train.py --epochs 8
broker:
  deadline: 2h
  budget: 1 USD
  work: {epochs: 8, steps_per_epoch: 400}
  checkpoint: {path: ckpt/, every: 5m}
  runs_per_month: 120
"""
VISION = """\
name: vision
resources:
  any_of: [{accelerators: L4:1}, {accelerators: T4:1}]
setup: pip install -r requirements.txt
run: python train.py --model resnet50
broker:
  deadline: 12h
  budget: 20 USD
  work: {steps: 90000}
  checkpoint: {path: ckpt/, every: 10m}
  runs_per_month: 8
"""
LM = """\
name: lm-pretrain
resources: {accelerators: A100-80GB:8}
run: torchrun --nproc-per-node 8 train.py
broker:
  deadline: 3d
  work: {steps: 40000}
  checkpoint: {path: ckpt/, every: 30m}
  runs_per_month: 1
"""
NIGHTLY = SENTIMENT.replace("sentiment", "nightly").replace("120", "30")
MEASURED = """\
job,config,cloud,instance_type,time_s,steps,price_per_hour_usd
vision,g6.xlarge,aws,g6.xlarge,0.11,1,0.805
vision,g4dn.xlarge,aws,g4dn.xlarge,0.24,1,0.526
sentiment,c5.xlarge,aws,c5.xlarge,0.31,1,0.17
sentiment,m5.2xlarge,aws,m5.2xlarge,0.22,1,0.384
nightly,c5.xlarge,aws,c5.xlarge,0.31,1,0.17
lm-pretrain,p4de.24xlarge,aws,p4de.24xlarge,2.1,1,27.447
"""


def git(*arguments: str) -> None:
    """Git in the sample repository, whatever the user's own settings."""
    who = {f"GIT_{role}_{what}": "demo@example.org" for role in ("AUTHOR", "COMMITTER")
           for what in ("NAME", "EMAIL")}  # fmt: skip
    environment = os.environ | who | {"GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", *arguments], cwd=FOLDER, env=environment, check=True)


def write(path: str, text: str) -> None:
    (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
    (FOLDER / path).write_text(text, encoding="utf-8")


def build() -> None:
    """A main branch with three jobs, and a branch that changes, adds and removes some."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    git("init", "-q", "-b", "main")
    write("sentiment/job.yaml", SENTIMENT)
    write("vision/job.yaml", VISION)
    write("nightly/job.yaml", NIGHTLY)
    write("measurements.csv", MEASURED)
    git("add", "-A")
    git("commit", "-q", "-m", "Three jobs")
    git("checkout", "-q", "-b", "bigger-models")
    longer = SENTIMENT.replace("--epochs 8", "--epochs 24").replace("epochs: 8", "epochs: 24")
    write("sentiment/job.yaml", longer)
    write("vision/job.yaml", VISION.replace("steps: 90000", "steps: 120000"))
    write("lm/job.yaml", LM)
    git("rm", "-q", "nightly/job.yaml")
    git("add", "-A")
    git("commit", "-q", "-m", "Bigger models")


def main() -> int:
    build()
    command = [
        *(MLBROKER, "check", "--base", "main", "--measure", "measurements.csv"),
        *("--max-increase", "50%", "--format", "markdown"),
    ]
    home = {"MLBROKER_HOME": str(ROOT / ".demo" / "home")}
    print(f"$ cd {FOLDER.relative_to(ROOT)} && {' '.join(['mlbroker', *command[1:]])}", flush=True)
    done = subprocess.run(command, cwd=FOLDER, env=os.environ | home)
    print(f"exit code {done.returncode}: 5 says that a limit is crossed")
    return 0 if done.returncode == 5 else 1


if __name__ == "__main__":
    sys.exit(main())
