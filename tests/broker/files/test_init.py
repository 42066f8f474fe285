"""`mlbroker init`: what it finds, that its file loads, and that it overwrites nothing."""

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mlbroker.broker.cli import build_app
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.first_job import job_yaml, look_at
from mlbroker.broker.files.job_file import load_job, parse_jobs


def init(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(["init"]), ["init", *arguments])


VENV = """\
set -e
test -x .venv-job/bin/pip || python3 -m venv --clear .venv-job || {
  python3 -c 'from urllib.request import urlretrieve as get; \
get("https://bootstrap.pypa.io/virtualenv.pyz", ".virtualenv.pyz")'
  python3 .virtualenv.pyz --quiet --clear .venv-job
  rm .virtualenv.pyz; }
"""
# As on Debian and Ubuntu without python3-venv; what it would fetch is written down and stands in.
WITHOUT_ENSUREPIP = """\
#!/bin/bash
case "$1 $2" in
"-m venv") mkdir -p .venv-job; echo no ensurepip >&2; exit 1;;
"-c "*) echo "$2" > fetched; echo fetched > .virtualenv.pyz;;
".virtualenv.pyz --quiet") mkdir -p "$4/bin"
  printf '#!/bin/sh\necho "$@" > installed' > "$4/bin/pip"
  chmod +x "$4/bin/pip";;
*) exit 9;;
esac
"""
PIP = f"{VENV}.venv-job/bin/pip --disable-pip-version-check install --quiet"
IN_ENVIRONMENT = 'PATH="$PWD/.venv-job/bin:$PATH"'


def lay_out(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("files", "command", "setup", "gpu"),
    [
        ({"train.py": ""}, "python3 train.py", None, None),
        ({"train.py": "import torch\n", "requirements.txt": "numpy"},
         f"{IN_ENVIRONMENT} python train.py", f"{PIP} -r requirements.txt",
         "train.py names torch"),
        ({"src/main.py": "", "pyproject.toml": "[build-system]\n[project]\ndependencies = ['jax']"},
         f"{IN_ENVIRONMENT} python src/main.py", f"{PIP} .", "pyproject.toml names jax"),
        ({"main.py": "", "pyproject.toml": "[tool.ruff]\n"}, "python3 main.py", None, None),
        ({"job.sh": "", "experiment.py": "", "setup.py": "", "test_x.py": ""},
         f"{IN_ENVIRONMENT} python experiment.py", f"{PIP} .", None),
        ({"a.py": "", "b.py": ""}, None, None, None),
        ({"explore.ipynb": "{}"}, "python3 -m jupyter nbconvert --to notebook --execute --inplace "
         "explore.ipynb", None, None),
        ({"strange; name.py": "", "-rf.py": ""}, None, None, None),
        ({}, None, None, None),
    ],
)  # fmt: skip
def test_what_it_finds(
    files: dict[str, str], command: str | None, setup: str | None, gpu: str | None, tmp_path: Path
) -> None:
    lay_out(tmp_path, files)
    project = look_at(tmp_path)
    assert (project.command, project.setup, project.gpu_because) == (command, setup, gpu)
    (file,) = parse_jobs(job_yaml(project), "job.yaml", tmp_path)
    assert file.job.command == (command or "python3 train.py")
    assert (file.job.setup or "").strip() == (setup or "")
    assert file.job.may_use_gpu == (gpu is not None)


@pytest.mark.parametrize(
    ("files", "step"),
    [
        ({"uv.lock": ""}, "UV_PROJECT_ENVIRONMENT=.venv-job uv sync --frozen"),
        ({"poetry.lock": ""}, 'VIRTUAL_ENV="$PWD/.venv-job" poetry install '),
        (
            {"pyproject.toml": "[tool.poetry.dependencies]\ntqdm = '*'\n[build-system]"},
            'VIRTUAL_ENV="$PWD/.venv-job" poetry install ',
        ),
        (
            {"pyproject.toml": "[project]\ndependencies = ['tqdm']"},
            "uv pip install --python .venv-job -r pyproject.toml",
        ),
        ({"environment.yml": "- pytorch"}, "--prefix .venv-job --file environment.yml"),
    ],
)
def test_other_tools_make_the_jobs_own_environment_too(
    files: dict[str, str], step: str, tmp_path: Path
) -> None:
    """None of them has to be on the machine: python3 is enough to fetch it."""
    lay_out(tmp_path, {"run.sh": "", **files})
    project = look_at(tmp_path)
    assert project.command == f"{IN_ENVIRONMENT} bash run.sh"
    assert project.setup is not None
    assert step in project.setup
    assert subprocess.run(["bash", "-n"], input=project.setup.encode()).returncode == 0
    (file,) = parse_jobs(job_yaml(project), "job.yaml", tmp_path)
    assert (file.job.setup or "").strip() == project.setup


def test_a_python_without_ensurepip_gets_an_environment_too(tmp_path: Path) -> None:
    lay_out(tmp_path, {"train.py": "", "requirements.txt": "", "path/python3": WITHOUT_ENSUREPIP})
    (tmp_path / "path" / "python3").chmod(0o755)
    setup = look_at(tmp_path).setup
    assert setup is not None
    path = f"{tmp_path}/path:{os.environ['PATH']}"
    for _ in range(2):  # the second finds it made
        subprocess.run(
            ["bash", "-c", setup], cwd=tmp_path, env={**os.environ, "PATH": path}, check=True
        )
    assert "https://bootstrap.pypa.io/virtualenv.pyz" in (tmp_path / "fetched").read_text()
    assert (tmp_path / "installed").read_text().endswith("install --quiet -r requirements.txt\n")
    assert not (tmp_path / ".virtualenv.pyz").exists()


def test_an_environment_that_is_there_serves_and_is_never_installed_into(tmp_path: Path) -> None:
    lay_out(tmp_path, {"train.py": "", "venv/pyvenv.cfg": "", "requirements.txt": "no-such-thing"})
    project = look_at(tmp_path)
    assert project.command == 'PATH="$PWD/venv/bin:$PATH" python train.py'
    assert project.packages == "venv, on other machines made from requirements.txt"
    assert project.setup is not None
    (tmp_path / "venv" / "bin").mkdir()
    (tmp_path / "venv" / "bin" / "python").symlink_to("/bin/true")
    subprocess.run(["bash", "-c", project.setup], cwd=tmp_path, check=True)
    assert [path.name for path in (tmp_path / "venv" / "bin").iterdir()] == ["python"]
    # mlbroker's own is no job's.
    assert look_at(tmp_path, ours=tmp_path / "venv").command == f"{IN_ENVIRONMENT} python train.py"


def test_an_environment_that_no_file_describes_is_said(tmp_path: Path) -> None:
    lay_out(tmp_path, {"train.py": "", ".venv/pyvenv.cfg": ""})
    project = look_at(tmp_path)
    assert (project.command, project.setup) == (
        'PATH="$PWD/.venv/bin:$PATH" python train.py', None,
    )  # fmt: skip
    assert "pip freeze > requirements.txt" in (project.packages or "")


def test_what_the_script_keeps_is_named(tmp_path: Path) -> None:
    script = """
        torch.load("base.pt"); os.makedirs("runs/checkpoints", exist_ok=True)
        torch.save(state, "runs/checkpoints/last.pt"); torch.save(model, 'model.pt')
        state["checkpoint"] = 1; plt.savefig("/tmp/elsewhere.bin")
    """
    lay_out(tmp_path, {"train.py": script, "base.pt": ""})
    (file,) = parse_jobs(job_yaml(look_at(tmp_path)), "job.yaml", tmp_path)
    assert file.job.checkpoint is not None
    assert file.job.checkpoint.path.rstrip("/") == "runs/checkpoints"
    assert list(file.job.outputs) == ["model.pt"]


@given(st.text(min_size=1, max_size=30))
def test_any_folder_name_gives_a_file_that_loads(name: str) -> None:
    assert parse_jobs(
        job_yaml(look_at(Path("/nowhere") / name.replace("\0", ""))), "job.yaml", None
    )


def test_it_writes_a_file_and_says_what_is_next(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    result = init(str(tmp_path))
    assert result.exit_code == 0
    assert load_job(tmp_path / "job.yaml").job.command == "python3 train.py"
    assert f"mlbroker plan {tmp_path}/job.yaml" in result.stderr


def test_it_overwrites_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("mine")
    refused = init(str(tmp_path))
    assert isinstance(refused.exception, InputError)
    assert path.read_text() == "mine"
    assert init(str(tmp_path), "--force").exit_code == 0
    assert "broker:" in path.read_text()


@pytest.mark.parametrize("target", ["missing", "file"])
def test_the_folder_must_be_one(target: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert isinstance(init(str(tmp_path / target)).exception, InputError)


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    result = init(str(tmp_path), "--output", "no/such/folder/job.yaml")
    assert "cannot be written" in str(result.exception)


SBATCH = "#!/bin/bash\n#SBATCH --gres=gpu:t4:1\n#SBATCH --qos=high\npython3 train.py\n"


def test_another_tools_file_becomes_a_job_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my train.sbatch").write_text(SBATCH)
    result = init("--from", "my train.sbatch")
    assert result.exit_code == 0
    assert "my train.sbatch:3: --qos=high: not carried over" in result.stderr
    assert "#   line 3: --qos=high: not carried over" in Path("job.yaml").read_text()
    assert load_job(Path("job.yaml")).job.may_use_gpu
    refused = init("--from", "my train.sbatch")
    assert "exists already" in str(refused.exception)
    assert init("--from", "my train.sbatch", "--force", "--output", "job.yaml").exit_code == 0
    # And where it is taken for a job file, the command is named.
    with pytest.raises(InputError, match=r"mlbroker init --from 'my train\.sbatch'"):
        load_job(Path("my train.sbatch"))
    with pytest.raises(InputError, match="has no effect without --from"):
        CliRunner().invoke(build_app(["init"]), ["init", "--gpu", "T4"], catch_exceptions=False)


def test_what_needs_no_conversion_and_what_is_nothing_known_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sky.yaml").write_text("resources: {accelerators: L4}\nrun: python3 train.py\n")
    result = init("--from", "sky.yaml")
    assert result.exit_code == 0
    assert "needs no conversion" in result.stderr
    assert not Path("job.yaml").exists()
    for text in ("hello: 1\n", "just words", "", "[1, 2"):
        Path("notes.yaml").write_text(text)
        assert "is none of these: a Slurm batch script" in str(
            init("--from", "notes.yaml").exception
        )
