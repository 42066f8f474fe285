"""`mlbroker init`: what it finds, that its file loads, and that it overwrites nothing."""

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


@pytest.mark.parametrize(
    ("files", "command", "setup", "gpu"),
    [
        ({"train.py": ""}, "python train.py", None, None),
        ({"train.py": "import torch\n", "requirements.txt": "numpy"}, "python train.py",
         "pip install -r requirements.txt", "train.py names torch"),
        ({"src/main.py": "", "pyproject.toml": "dependencies = ['jax']"}, "python src/main.py",
         "pip install .", "pyproject.toml names jax"),
        ({"job.sh": "", "experiment.py": "", "setup.py": "", "test_x.py": ""},
         "python experiment.py", "pip install .", None),
        ({"a.py": "", "b.py": ""}, None, None, None),
        ({"explore.ipynb": "{}"}, "jupyter nbconvert --to notebook --execute --inplace "
         "explore.ipynb", None, None),
        ({"run.sh": "", "environment.yml": "- pytorch"}, "bash run.sh",
         "conda env update --name base --file environment.yml", "environment.yml names pytorch"),
        ({"strange; name.py": "", "-rf.py": ""}, None, None, None),
        ({}, None, None, None),
    ],
)  # fmt: skip
def test_what_it_finds(
    files: dict[str, str], command: str | None, setup: str | None, gpu: str | None, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    project = look_at(tmp_path)
    assert (project.command, project.setup, project.gpu_because) == (command, setup, gpu)
    (file,) = parse_jobs(job_yaml(project), "job.yaml", tmp_path)
    assert file.job.command == (command or "python train.py")
    assert file.job.setup == setup
    assert file.job.may_use_gpu == (gpu is not None)


@given(st.text(min_size=1, max_size=30))
def test_any_folder_name_gives_a_file_that_loads(name: str) -> None:
    assert parse_jobs(
        job_yaml(look_at(Path("/nowhere") / name.replace("\0", ""))), "job.yaml", None
    )


def test_it_writes_a_file_and_says_what_is_next(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    result = init(str(tmp_path))
    assert result.exit_code == 0
    assert load_job(tmp_path / "job.yaml").job.command == "python train.py"
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
