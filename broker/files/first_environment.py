"""The Python environment of a project: the one that is there, and how a bare machine gets one.

A set-up never installs into the environment that mlbroker is in, nor into the system's: it makes
one below the job's own folder, with nothing but `python3`.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

OWN = ".venv-job"
_USUAL = (".venv", "venv", "env", ".conda")
# Conda's environments need no Conda: micromamba is one file. A bare machine may have no curl.
_MICROMAMBA = """\
command -v micromamba >/dev/null || python3 - <<'END'
import io, platform, tarfile, urllib.request
kind = "linux-" + platform.machine().replace("x86_64", "64")
url = "https://micro.mamba.pm/api/micromamba/" + kind + "/latest"
with urllib.request.urlopen(url) as answer, tarfile.open(fileobj=io.BytesIO(answer.read())) as file:
    file.extract("bin/micromamba", ".micromamba")
END
export MAMBA_ROOT_PREFIX="$PWD/.micromamba" PATH="$PWD/.micromamba/bin:$PATH"
"""


@dataclass(frozen=True, slots=True)
class Environment:
    """Its folder in the project, the set-up that makes it where it is not, and both in words."""

    folder: str
    setup: str | None
    words: str


def environment_of(folder: Path, ours: Path | None) -> Environment | None:
    """The one that this folder shows; None for a project that needs nothing installed.

    `ours`, the one that mlbroker is in, is no job's.
    """
    there = next((name for name in _USUAL if _is_environment(folder / name, ours)), None)
    into = there or OWN
    file, steps = _recipe(folder, into)
    if there is None:
        return Environment(into, f"set -e\n{steps}", f"{file}, into {into}") if file else None
    if not file:
        freeze = f"`{there}/bin/python -m pip freeze > requirements.txt`"
        words = f"{there}, and no file says what is in it: {freeze}, then init --force"
        return Environment(there, None, words)
    # The user's own serves as it is, and stays behind when the job travels.
    setup = f"set -e\nif ! test -x {there}/bin/python; then\n{steps}\nfi"
    return Environment(there, setup, f"{there}, on other machines made from {file}")


def _is_environment(path: Path, ours: Path | None) -> bool:
    if ours is not None and path.resolve() == ours.resolve():
        return False
    return (path / "pyvenv.cfg").is_file() or (path / "conda-meta" / "history").is_file()


def _recipe(folder: Path, into: str) -> tuple[str, str]:
    """The file that says what is in the environment, and what makes it; empty without any."""
    pip = f"{_venv(into)}\n{into}/bin/pip --disable-pip-version-check install --quiet"
    made = f"test -x {into}/bin/python || micromamba create --yes --quiet --prefix {into}"
    micromamba = f"{_MICROMAMBA}{made} --file"
    poetry = f'VIRTUAL_ENV="$PWD/{into}" poetry install --no-interaction --no-root'
    by_poetry = f"{_tool('poetry')}\n{_venv(into)}\n{poetry}"
    by_uv = f"{_tool('uv')}\n{_venv(into)}\nuv pip install --python {into} -r pyproject.toml"
    pyproject = {"package": f"{pip} .", "poetry": by_poetry, "dependencies": by_uv, "tools": ""}
    steps = {
        "uv.lock": f"{_tool('uv')}\nUV_PROJECT_ENVIRONMENT={into} uv sync --frozen",
        "poetry.lock": by_poetry,
        "requirements.txt": f"{pip} -r requirements.txt",
        "pyproject.toml": pyproject[_kind(folder / "pyproject.toml")],
        "setup.py": f"{pip} .",
        "environment.yml": f"{micromamba} environment.yml",
        "environment.yaml": f"{micromamba} environment.yaml",
    }
    there = (name for name, script in steps.items() if script and (folder / name).is_file())
    name = next(there, "")
    return name, steps.get(name, "")


def _venv(into: str) -> str:
    # Debian's and Ubuntu's images have a python3 without ensurepip, which leaves a venv half made;
    # virtualenv in one file, as PyPA serves it, brings its own pip.
    url = "https://bootstrap.pypa.io/virtualenv.pyz"
    fetch = f'from urllib.request import urlretrieve as get; get("{url}", ".virtualenv.pyz")'
    return (
        f"test -x {into}/bin/pip || python3 -m venv --clear {into} || {{\n"
        f"  python3 -c '{fetch}'\n"
        f"  python3 .virtualenv.pyz --quiet --clear {into}\n  rm .virtualenv.pyz; }}"
    )


def _tool(name: str) -> str:
    """One that is there already serves; else it comes from the index, into a folder of its own."""
    own = f".venv-{name}"
    return (
        f"command -v {name} >/dev/null || {{\n{_venv(own)}\n"
        f"{own}/bin/pip install --quiet {name}; }}\n"
        f'export PATH="$PATH:$PWD/{own}/bin"'
    )


def _kind(pyproject: Path) -> str:
    """What the file is: a package to build, dependencies of what is not one, tools' settings."""
    try:
        read = tomllib.loads(pyproject.read_text(encoding="utf-8"))
        if "poetry" in read.get("tool", {}) and "project" not in read:
            return "poetry"
        if "build-system" in read:
            return "package"
        # Built without being meant to be, a folder of several packages is refused.
        return "dependencies" if read.get("project", {}).get("dependencies") else "tools"
    except (OSError, ValueError, TypeError, AttributeError):  # no TOML, or no such tables
        return "tools"
