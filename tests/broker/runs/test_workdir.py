"""What travels: the files git would take, wherever the folder stands; else git's own words."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from mlbroker.broker.errors import InputError
from mlbroker.broker.guest.archives import LeftOut
from mlbroker.broker.runs.bundle import pack_workdir
from mlbroker.broker.runs.workdir import files_below


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.email=a@b", "-c", "user.name=n", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def filled(folder: Path, *names: str, ignore: str = "") -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    if ignore:
        (folder / ".gitignore").write_text(ignore)
    return folder


def below(folder: Path) -> tuple[list[str], str]:
    left_out = LeftOut()
    return files_below(folder, left_out), str(left_out)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "repository"
    top.mkdir()
    git(top, "init", "-q")
    return top.resolve()


def test_a_folder_outside_of_any_repository_follows_its_own_rules(tmp_path: Path) -> None:
    folder = filled(tmp_path / "plain", "train.py", "x.tmp", "data/big", ignore="*.tmp\ndata/\n")
    assert below(folder) == ([".gitignore", "train.py"], "")


@pytest.mark.parametrize("rule", ["experiments/\n", "*\n"])
def test_a_folder_that_is_ignored_from_above_travels_by_its_own_rules(top: Path, rule: str) -> None:
    filled(top, ignore=rule)
    folder = filled(top / "experiments" / "one", "train.py", "x.tmp", ignore="*.tmp\n")
    assert below(folder) == ([".gitignore", "train.py"], "")
    filled(folder, "forced.tmp")
    git(folder, "add", "-f", "forced.tmp")
    assert below(folder)[0] == [".gitignore", "forced.tmp", "train.py"]


def test_rules_from_above_hold_for_a_folder_that_is_not_ignored_itself(top: Path) -> None:
    filled(top, ignore="*.ckpt\n")
    folder = filled(top / "job", "train.py", "model.ckpt")
    assert below(folder) == (["train.py"], "")


def test_submodules_and_inner_repositories_travel(top: Path, tmp_path: Path) -> None:
    library = filled(tmp_path / "library", "zed.py", ignore="*.o\n")
    git(library, "init", "-q")
    git(library, "add", ".")
    git(library, "commit", "-qm", "first")
    git(top, "submodule", "--quiet", "add", str(library), "zed")
    filled(top / "zed", "built.o", "new.py")
    git(filled(top / "own", "inner.py"), "init", "-q")
    names, left_out = below(top)
    assert names == [".gitmodules", "own/inner.py", "zed/.gitignore", "zed/new.py", "zed/zed.py"]
    assert left_out == ""
    git(top, "add", ".gitmodules", "zed")
    git(top, "commit", "-qm", "with a submodule")
    git(top, "submodule", "--quiet", "deinit", "--force", "zed")
    assert below(top)[1] == "zed (a submodule that is not checked out)"


def test_an_environment_of_this_machine_stays_and_is_told(top: Path) -> None:
    filled(top, "train.py", ".venv/pyvenv.cfg", ".venv/bin/python", "conda/conda-meta/history",
           "conda/bin/python", "venv_of_mine.py")  # fmt: skip
    names, left_out = below(top)
    assert names == ["train.py", "venv_of_mine.py"]
    assert ".venv (an environment of this machine" in left_out
    assert "conda (an environment of this machine" in left_out


def test_what_git_cannot_tell_is_refused_in_its_own_words(top: Path) -> None:
    filled(top, "train.py")
    git(top, "add", ".")
    (top / ".git" / "index").write_bytes(b"garbage")
    with pytest.raises(InputError, match="index file"):
        below(top)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_a_clone_of_another_owner_is_refused_in_gits_own_words(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(top.parent))
    monkeypatch.delenv("SUDO_UID", raising=False)
    filled(top, "train.py")
    for path in (top, *top.rglob("*")):
        os.chown(path, 12345, 12345)
    with pytest.raises(InputError, match=r"dubious ownership.*safe.directory"):
        below(top)


def test_a_folder_of_which_all_is_ignored_is_refused(tmp_path: Path) -> None:
    folder = filled(tmp_path / "all", "train.py", ignore="*\n")
    with pytest.raises(InputError, match="ignores every file"):
        below(folder)
    (tmp_path / "empty").mkdir()
    assert below(tmp_path / "empty") == ([], "")


def test_a_large_work_directory_is_packed_without_being_held(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    with open(folder / "weights", "wb") as file:
        file.truncate(300_000_000)
    script = (
        "import resource, sys; from pathlib import Path;"
        "from mlbroker.broker.runs.bundle import pack_workdir;"
        "resource.setrlimit(resource.RLIMIT_AS, (250_000_000,) * 2);"
        "print(pack_workdir(Path(sys.argv[1]), Path(sys.argv[2]), {}).files)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), str(tmp_path / "out.tar.gz")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "1\n", done.stderr
    assert pack_workdir(folder, tmp_path / "again.tar.gz", {}).bytes < 10_000_000


def test_files_of_this_disk_travel_beside_those_of_the_folder(tmp_path: Path) -> None:
    given = tmp_path / "given.txt"
    given.write_text("of a")
    beside = {".mlbroker-inputs/a/out.txt": given, "lane/x.py": b"x = 1"}
    work = filled(tmp_path / "work", "code.py")
    for folder, names in ((work, ["code.py", *beside]), (None, list(beside))):
        bundle = pack_workdir(folder, tmp_path / "bundle.tar.gz", {}, beside)
        with tarfile.open(bundle.path) as archive:
            assert set(names) <= set(archive.getnames())
            member = archive.extractfile(".mlbroker-inputs/a/out.txt")
            assert member is not None
            assert member.read() == b"of a"
