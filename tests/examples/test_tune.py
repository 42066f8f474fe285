"""The study that the examples show: its job file is whole, and its trials pause and go on."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.images import put_images
from typer.testing import CliRunner

from mlbroker.broker.cli import build_app

EXAMPLE = Path(__file__).parents[2] / "examples" / "tune"


def test_its_study_is_accepted(tmp_path: Path) -> None:
    words = ["tune", str(EXAMPLE / "job.yaml"), "--on", "local", "--budget", "0.05", "--dry-run"]
    done = CliRunner().invoke(build_app(["tune"]), words, env={"MLBROKER_HOME": str(tmp_path)})
    assert done.exit_code == 0, done.output
    assert "at most 40 trials of up to 81 x epoch" in done.stderr


def test_a_trial_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text((EXAMPLE / "train.py").read_text())
    put_images(tmp_path, 4100)

    def told(epochs: int, checkpoints: str) -> list[str]:
        more = {"EPOCHS": str(epochs), "WIDTH": "16", "MLBROKER_CHECKPOINT_DIR": checkpoints}
        words = [sys.executable, "train.py"]
        done = subprocess.run(words, cwd=tmp_path, env={**os.environ, **more}, text=True,
                              capture_output=True, check=True)  # fmt: skip
        return re.findall(r"::mlbroker metric=(\S+) at=(\d+)", done.stdout)

    whole = told(3, "whole")
    assert [at for _, at in whole] == ["1", "2", "3"]
    assert float(whole[-1][0]) > 0.5
    assert told(2, "parts") + told(3, "parts") == whole
