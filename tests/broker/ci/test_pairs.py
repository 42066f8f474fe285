"""Finding job files and pairing then with now: added, removed, changed, moved, broken."""

import os
import random
from pathlib import Path

import pytest
from tests.support.repositories import Repository, job_text

from mlbroker.broker.ci.git import Repository as Git
from mlbroker.broker.ci.job_texts import JobTexts, TextPair, is_job
from mlbroker.broker.ci.pairs import ChangeStatus, JobPair, describe_change, pair_jobs
from mlbroker.broker.errors import InputError


def pairs(repository: Repository, *paths: str) -> dict[str, JobPair]:
    git = Git(repository.root)
    chosen = [repository.root / path for path in paths] or [repository.root]
    texts = JobTexts(chosen, git).since(git.base_commit("main"))
    return {f"{pair.path}:{pair.name}": pair for pair in pair_jobs(texts, git.root)}


def statuses(repository: Repository, *paths: str) -> dict[str, str]:
    return {key: str(pair.status) for key, pair in pairs(repository, *paths).items()}


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        ("a/job.yaml", b"", True),
        ("train.job.yml", b"", True),
        ("x.yaml", b"run: x\nbroker: {}\n", True),
        ("x.yaml", b"resources:\n  cpus: 4\nrun: |\n  x\n", True),
        ("x.yaml", b"run: x\n", False),
        ("compose.yaml", b"services:\n  a:\n    run: x\n", False),
        ("workflow.yml", b"jobs:\n  a:\n    steps:\n    - run: x\n", False),
    ],
)
def test_what_looks_like_a_job(path: str, content: bytes, expected: bool) -> None:
    assert is_job(path, content) == expected


def test_all_kinds_of_change(repository: Repository) -> None:
    repository.commit(
        {f"jobs/{n}.yaml": job_text(n) for n in ("same", "changed", "gone", "moved", "broken")}
    )
    repository.branch()
    repository.write("jobs/changed.yaml", job_text("changed", 40_000))
    repository.git("rm", "-q", "jobs/gone.yaml")
    repository.git("mv", "jobs/moved.yaml", "jobs/elsewhere.yaml")
    repository.write("jobs/new.yaml", job_text("new", 77, deadline="3h", budget="5 USD"))
    repository.write("jobs/broken.yaml", job_text("broken", budgett=5))
    found = pairs(repository)
    assert {key: str(pair.status) for key, pair in found.items()} == {
        "jobs/same.yaml:same": "unchanged",
        "jobs/changed.yaml:changed": "changed",
        "jobs/gone.yaml:gone": "removed",
        "jobs/elsewhere.yaml:moved": "unchanged",
        "jobs/new.yaml:new": "added",
        "jobs/broken.yaml:broken": "broken",
    }
    assert found["jobs/elsewhere.yaml:moved"].previous_path == "jobs/moved.yaml"
    problem = found["jobs/broken.yaml:broken"].problem
    assert problem is not None
    assert problem.where == "jobs/broken.yaml:8"


def test_nothing_is_written_or_checked_out(repository: Repository) -> None:
    repository.commit({"job.yaml": job_text("a")})
    repository.branch()
    repository.write("job.yaml", job_text("a", 5))
    repository.write("untracked.yaml", job_text("b"))
    # Asked first: `git status` itself may refresh the index.
    status = repository.git("status", "--porcelain")
    index = (repository.root / ".git" / "index").read_bytes()
    pairs(repository)
    assert (repository.root / ".git" / "index").read_bytes() == index
    assert repository.git("status", "--porcelain") == status


def test_a_comment_is_no_change(repository: Repository) -> None:
    repository.commit({"job.yaml": job_text("a")})
    repository.branch()
    repository.write("job.yaml", "# why\n" + job_text("a").replace("12h", "12h   # enough"))
    assert statuses(repository) == {"job.yaml:a": "unchanged"}


def test_a_changed_job_in_a_moved_file_is_followed(repository: Repository) -> None:
    repository.commit({"old/job.yaml": job_text("train"), "b/job.yaml": job_text("other")})
    repository.branch()
    repository.git("mv", "old", "new")
    repository.write("new/job.yaml", job_text("train", 5))
    found = pairs(repository)["new/job.yaml:train"]
    assert found.status is ChangeStatus.CHANGED
    assert found.previous_path == "old/job.yaml"


def test_nameless_jobs_in_moved_files_are_followed_by_likeness(repository: Repository) -> None:
    def nameless(steps: int, **broker: object) -> str:
        return job_text("", steps, **broker).replace("name: \n", "")

    repository.commit({"a.yaml": nameless(7), "b.yaml": nameless(5, budget="9 USD")})
    repository.branch()
    for name in ("a", "b"):
        repository.git("mv", f"{name}.yaml", f"{name}{name}.yaml")
    repository.write("aa.yaml", nameless(7, runs_per_month=31))
    assert {p.path: (p.previous_path, str(p.status)) for p in pairs(repository).values()} == {
        "aa.yaml": ("a.yaml", "changed"),
        "bb.yaml": ("b.yaml", "unchanged"),
    }


def test_a_job_of_another_name_is_another_job(repository: Repository) -> None:
    repository.commit({"a.yaml": job_text("one")})
    repository.branch()
    repository.git("mv", "a.yaml", "b.yaml")
    repository.write("b.yaml", job_text("two"))
    assert statuses(repository) == {"a.yaml:one": "removed", "b.yaml:two": "added"}


def stages(*jobs: tuple[str, int], header: str = "") -> str:
    texts = [job_text(name, steps, deadline=None, runs_per_month=None) for name, steps in jobs]
    return "---\n".join([*([header] if header else []), *texts])


def test_stages_are_paired_by_name_and_change_together(repository: Repository) -> None:
    repository.commit({"job.yaml": stages(("a", 9), ("b", 9), ("c", 9))})
    repository.branch()
    assert set(statuses(repository).values()) == {"unchanged"}
    repository.write("job.yaml", stages(("c", 9), ("b", 5), ("d", 9)))
    assert statuses(repository) == {f"job.yaml:{name}": "changed" for name in "bcd"}
    assert "its pipeline changed (b, d)" in pairs(repository)["job.yaml:c"].notes


def test_a_header_is_of_all_stages(repository: Repository) -> None:
    header = "name: p\nbroker: {deadline: 9h}\n"
    repository.commit({"job.yaml": stages(("a", 9), ("b", 9), header=header)})
    repository.branch()
    repository.write("job.yaml", stages(("a", 9), ("b", 9), header=header.replace("9", "8")))
    assert statuses(repository) == {"job.yaml:a": "changed", "job.yaml:b": "changed"}


def test_what_was_broken_before_is_not_this_change_s_doing(repository: Repository) -> None:
    repository.commit({"old.yaml": job_text("old", x=1), "job.yaml": job_text("a", y=1)})
    repository.branch()
    repository.write("job.yaml", job_text("a"))
    found = pairs(repository)
    assert {key: str(pair.status) for key, pair in found.items()} == {
        "old.yaml:old": "unchanged",
        "job.yaml:a": "added",
    }
    assert "could not be read at the base" in found["job.yaml:a"].notes[0]


def test_only_what_is_asked_for_is_looked_at(repository: Repository) -> None:
    repository.commit({"a/job.yaml": job_text("a"), "b/job.yaml": job_text("b")})
    repository.branch()
    for name in ("a", "b"):
        repository.write(f"{name}/job.yaml", job_text(name, 5))
    repository.write("a/odd.txt", job_text("odd"))
    assert set(statuses(repository, "a")) == {"a/job.yaml:a"}
    assert set(statuses(repository, "b/job.yaml", "a/odd.txt")) == {
        "b/job.yaml:b",
        "a/odd.txt:odd",
    }
    with pytest.raises(InputError, match="no such file"):
        pairs(repository, "c.yaml")
    with pytest.raises(InputError, match="outside the repository"):
        pairs(repository, "../elsewhere.yaml")


def test_hidden_folders_links_and_other_files_are_left_alone(repository: Repository) -> None:
    repository.commit({"job.yaml": job_text("a")})
    repository.branch()
    repository.write(".github/job.yaml", job_text("hidden"))
    repository.write("node_modules/x/job.yaml", job_text("vendored"))
    repository.write("notes.yaml", "just: notes\n")
    repository.write("binary.yaml", bytes(range(256)))
    (repository.root / "link.yaml").symlink_to("job.yaml")
    os.mkfifo(repository.root / "pipe.yaml")
    assert statuses(repository) == {"job.yaml:a": "unchanged"}


def test_without_git_folders_are_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("job.yaml", "deep/x.job.yaml", ".venv/job.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(job_text("a"))
    found = JobTexts([tmp_path], None).current()
    assert [text.path for text in found] == ["deep/x.job.yaml", "job.yaml"]


def test_the_order_of_files_does_not_matter(repository: Repository) -> None:
    texts = [
        TextPair(f"{i}.yaml", job_text(f"j{i}").encode() if i % 3 else None,
                 job_text(f"j{i + i % 2}", i + 1).encode() if i % 5 else None)
        for i in range(12)
    ]  # fmt: skip
    expected = pair_jobs(texts, repository.root)
    for seed in range(100):
        shuffled = random.Random(seed).sample(texts, len(texts))
        assert pair_jobs(shuffled, repository.root) == expected


def test_changes_in_words() -> None:
    assert describe_change("broker.work.steps", "1", "2") == "broker.work.steps: 1 → 2"
    assert describe_change("name", "", "x") == "name: 'x' added"
    assert describe_change("name", "x", "") == "name: 'x' removed"
    assert describe_change("run", "x" * 100, "y") == "run changed"
    assert describe_change("run", "a\nb", "y") == "run changed"
