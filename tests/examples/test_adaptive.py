"""The training that the examples show takes the batch that it is told, and goes on at another."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from tests.support.hooks import PYTHON, needs
from tests.support.images import put_images
from tests.support.mlbroker import Cli

EXAMPLE = Path(__file__).parents[2] / "examples" / "adaptive"


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The example beside images of our own, started without torchrun."""
    (tmp_path / "train.py").write_text((EXAMPLE / "train.py").read_text())
    put_images(tmp_path, 4500)
    job = (EXAMPLE / "job.yaml").read_text()
    job = re.sub("(?m)^setup:.*\n", "", job)
    job = re.sub("(?m)^run:.*$", f"run: {PYTHON} train.py", job)
    (tmp_path / "job.yaml").write_text(job)
    return Cli(tmp_path)


@needs("torch")
def test_it_takes_the_batch_that_it_is_told_and_goes_on_at_another(cli: Cli) -> None:
    def trained(**env: str) -> list[tuple[str, str]]:
        told = {"MLBROKER_CHECKPOINT_DIR": str(cli.folder / "kept"), **env}
        done = subprocess.run([PYTHON, "train.py"], cwd=cli.folder, env={**os.environ, **told},
                              capture_output=True, text=True, check=True)  # fmt: skip
        return re.findall(r"epoch (\d+)/\d+ .* batch (\d+)", done.stdout)

    assert trained(EPOCHS="1", BATCH="128") == [("1", "128")]
    assert trained(EPOCHS="2", BATCH="512", ACC="2", LR="0.1") == [("2", "512")]


@needs("torch")
def test_its_noise_is_seen_and_its_batches_are_measured(cli: Cli) -> None:
    done = cli("profile", "job.yaml", "--yes", "--batch", "128,256", "--max-steps", "200")
    assert done.returncode == 0, done.stderr
    assert "batch 256" in done.stdout
    shown = cli("profile", "show", "job.yaml", "--json")
    assert '"noise_batch": "128"' in shown.stdout
