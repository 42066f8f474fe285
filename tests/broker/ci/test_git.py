"""Reading git: bases, trees and contents, without touching the work tree."""

import hashlib
from pathlib import Path

import pytest
from tests.support.repositories import Repository

from mlbroker.broker.ci.git import Repository as Git
from mlbroker.broker.ci.git import blob_id
from mlbroker.broker.errors import InputError


def test_the_base_is_where_the_branch_left(repository: Repository) -> None:
    fork = repository.commit({"a.yaml": "1"})
    repository.branch()
    repository.commit({"b.yaml": "2"})
    repository.git("checkout", "-q", "main")
    repository.commit({"c.yaml": "3"})
    repository.git("checkout", "-q", "feature")
    assert Git(repository.root).base_commit("main") == fork


def test_unrelated_histories_are_compared_as_they_are(repository: Repository) -> None:
    repository.commit({"a.yaml": "1"})
    repository.git("checkout", "-q", "--orphan", "other")
    other = repository.commit({"b.yaml": "2"})
    repository.git("checkout", "-q", "main")
    assert Git(repository.root).base_commit("other") == other


@pytest.mark.parametrize("ref", ["mian", "--output=x", "-h", "", "main:a", "a b", "main\n"])
def test_a_base_that_is_none(repository: Repository, ref: str) -> None:
    repository.commit({"a.yaml": "1"})
    with pytest.raises(InputError, match="there is no commit") as caught:
        Git(repository.root).base_commit(ref)
    assert caught.value.where == "--base"
    if ref == "mian":
        assert "did you mean main?" in str(caught.value)


def test_a_shallow_clone_says_what_to_fetch(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a.yaml": "1"})
    repository.branch()
    repository.commit({"a.yaml": "2"})
    repository.git("checkout", "-q", "main")
    repository.commit({"a.yaml": "3"})
    clone = Repository(tmp_path / "clone")
    origin = repository.root.as_uri()
    clone.git("fetch", "-q", "--depth=1", origin, "feature:feature", "main:base")
    clone.git("checkout", "-q", "feature")
    with pytest.raises(InputError, match="too shallow") as caught:
        Git(clone.root).base_commit("base")
    assert "fetch-depth: 0" in str(caught.value)
    with pytest.raises(InputError, match="in this shallow clone") as caught:
        Git(clone.root).base_commit("origin/main")
    assert "GIT_DEPTH: 0" in str(caught.value)


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not in a git repository"):
        Git(tmp_path)
    assert Git.around(tmp_path) is None


def test_trees_and_contents(repository: Repository) -> None:
    names = ["plain.yaml", "with space.yaml", "ünïcode.yaml", 'quo"te.yaml', "new\nline.yaml"]
    commit = repository.commit({f"sub/{name}": name for name in names})
    (repository.root / "link.yaml").symlink_to("sub/plain.yaml")
    linked = repository.commit()
    git = Git(repository.root)
    tree = git.tree(commit)
    assert set(tree) == {f"sub/{name}" for name in names}
    assert git.tree(linked).keys() == tree.keys()
    contents = git.blobs(tree.values())
    assert {path: contents[blob].decode() for path, blob in tree.items()} == {
        f"sub/{name}": name for name in names
    }
    assert all(blob_id(contents[blob], blob) == blob for blob in contents)
    assert git.content(commit, "sub/plain.yaml") == b"plain.yaml"
    assert git.content(commit, "sub/other.yaml") is None


def test_blob_ids_in_both_hashes() -> None:
    content = b"hello\n"
    framed = b"blob 6\0hello\n"
    assert blob_id(content, "0" * 40) == hashlib.sha1(framed).hexdigest()
    assert blob_id(content, "0" * 64) == hashlib.sha256(framed).hexdigest()


def test_the_work_tree_lists_what_git_does_not_ignore(repository: Repository) -> None:
    repository.commit({"a.yaml": "1", ".gitignore": "ignored.yaml\n", "b.txt": "2"})
    for name in ("new.yml", "ignored.yaml", "deep/er/c.yaml"):
        repository.write(name, "x")
    before = repository.git("status", "--porcelain")
    assert Git(repository.root).work_tree((".yaml", ".yml")) == [
        "a.yaml",
        "deep/er/c.yaml",
        "new.yml",
    ]
    assert repository.git("status", "--porcelain") == before


def test_a_sparse_checkout_leaves_files_in_the_index(repository: Repository) -> None:
    repository.commit({"a/a.yaml": "1", "b/b.yaml": "2", "b/c.txt": "3", "root.yaml": "4"})
    repository.git("sparse-checkout", "set", "--cone", "a")
    git = Git(repository.root)
    left_out = git.not_checked_out((".yaml",))
    assert git.blobs(left_out.values()) == {left_out["b/b.yaml"]: b"2"}
    # One that is there all the same is as it is there.
    repository.git("sparse-checkout", "disable")
    repository.git("update-index", "--skip-worktree", "b/b.yaml")
    assert Git(repository.root).not_checked_out((".yaml",)) == {}


def test_what_git_tells_its_hooks_does_not_move_the_repository(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit({"sub/a.yaml": "1"})
    linked = tmp_path / "linked"
    repository.git("worktree", "add", "-q", str(linked))
    # As git sets them for a hook of the first one.
    monkeypatch.setenv("GIT_DIR", str(repository.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/index")
    monkeypatch.setenv("GIT_PREFIX", "sub/")
    for root in (repository.root, linked):
        git = Git(root / "sub")
        assert git.root == root
        assert git.work_tree((".yaml",)) == ["sub/a.yaml"]
