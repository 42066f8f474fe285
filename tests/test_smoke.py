"""The package imports under its public name from the source tree, and its tests tell of those
that were left out.
"""

import subprocess
import sys
from pathlib import Path

from mlbroker.profiles.job import Job


def test_fingerprint_follows_what_decides_the_step_time() -> None:
    job = Job(name="a", command="python train.py")
    assert job.fingerprint() == Job(name="renamed", command="python train.py").fingerprint()
    assert job.fingerprint() != Job(name="a", command="python other.py").fingerprint()


def test_the_end_says_which_tests_were_left_out_and_what_would_bring_them(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        "import pytest\n"
        "needs = pytest.mark.skipif(True, reason='needs a tool: apt-get install tool')\n"
        "@needs\ndef test_a(): pass\n@needs\ndef test_b(): pass\ndef test_c(): pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", str(tmp_path)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    told = "2 left out, needs a tool: apt-get install tool (test_x.py)"
    assert told in done.stdout.splitlines(), done.stdout
