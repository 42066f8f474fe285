"""The import contracts see what they are there for: planted in a copy, it breaks one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("broker", "policies", "profiles", "pricing", "testing", ".dev", "pyproject.toml")


# Of a package without an `__init__` all parts on the path count: this copy's alone is wanted.
LINT = """
import sys
sys.path = [".dev", *(path for path in sys.path[1:] if not path.endswith(".dev"))]
from importlinter.cli import lint_imports_command
sys.argv[0] = "lint-imports"
lint_imports_command()
"""


def _linted(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo"],
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("module", "planted"),
    [
        ("azure/request.py", "gcp.names"),
        ("gcp/guest.py", "aws.guest_sigv4"),
        ("ssh.py", "local"),
        # A cloud that no list of ours names.
        ("orchard/cloud.py", "aws.calls"),
    ],
)
def test_a_cloud_that_imports_another_is_seen(tmp_path: Path, module: str, planted: str) -> None:
    for part in PARTS:
        source, ignore = ROOT / part, shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, tmp_path / part, symlinks=True, ignore=ignore)
        else:
            shutil.copy(source, tmp_path / part)
    path = tmp_path / "broker" / "clouds" / module
    path.parent.mkdir(exist_ok=True)
    (path.parent / "__init__.py").touch()
    with open(path, "a") as file:
        file.write(f"\n\nimport mlbroker.broker.clouds.{planted}  # noqa\n")
    done = _linted(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "The clouds do not import each other BROKEN" in done.stdout
