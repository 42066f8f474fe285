"""Comments on both forges, over real HTTP: behaviours, faults, limits and the token's secrecy."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.forges import TOKEN, FakeForge, Fault, running
from tests.support.repositories import Checked, Repository, check, job_text

from mlbroker.broker.ci import comment as comment_module
from mlbroker.broker.ci.forge_api import Api
from mlbroker.broker.ci.forges import FORGES
from mlbroker.broker.errors import CloudError, InputError
from mlbroker.broker.http import Http

Call = Callable[..., Checked]
MARKER = "<!-- mlbroker check: default -->"


@pytest.fixture(params=FORGES)
def forge(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeForge]:
    for name in ("GITHUB_EVENT_PATH", "GITHUB_REF", "GITHUB_REPOSITORY", "CI_PROJECT_ID",
                 "CI_MERGE_REQUEST_PROJECT_ID"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(comment_module.time, "sleep", lambda seconds: None)
    with running(FakeForge(request.param)) as forge:
        yield forge


@pytest.fixture
def comment(repository: Repository, home: Path, forge: FakeForge) -> Call:
    """`mlbroker check --comment …` on a branch with one changed job."""
    repository.commit({"a.yaml": job_text("a")})
    repository.branch()
    repository.write("a.yaml", job_text("a", 40_000))

    def call(*options: str, **environment: str) -> Checked:
        return check(
            "--base", "main", "--comment", forge.flavour, *options,
            cwd=repository.root, home=home, **{**forge.environment(), **environment},
        )  # fmt: skip

    return call


def test_update_writes_once_and_then_updates(
    comment: Call, forge: FakeForge, repository: Repository
) -> None:
    forge.add("a reviewer's comment")
    first = comment()
    assert first.code == 0
    assert "Commented" in first.stderr
    assert len(forge.bodies) == 2
    assert forge.bodies[1].startswith(MARKER)
    assert "up to date" in comment().stderr
    repository.write("a.yaml", job_text("a", 80_000))
    assert "Updated" in comment().stderr
    assert len(forge.bodies) == 2
    assert "80000" in forge.bodies[1]
    assert forge.bodies[0] == "a reviewer's comment"


def test_new_always_writes(comment: Call, forge: FakeForge) -> None:
    comment("--behavior", "new")
    comment("--behavior", "new")
    assert len(forge.bodies) == 2


def test_hide_and_new(comment: Call, forge: FakeForge) -> None:
    comment("--behavior", "hide-and-new")
    comment("--behavior", "hide-and-new")
    marked = [body for body in forge.bodies if body.startswith(MARKER)]
    assert len(marked) == 1
    assert len(forge.notes) == 2
    old = forge.notes[0]
    assert old.hidden or old.body.startswith("<details><summary>Outdated</summary>")


def test_delete_and_new(comment: Call, forge: FakeForge) -> None:
    other = forge.add("<!-- mlbroker check: other -->\nof another check")
    comment("--behavior", "delete-and-new")
    first = forge.notes[-1].id
    comment("--behavior", "delete-and-new")
    assert [note.id for note in forge.notes if note is not other] != [first]
    assert len(forge.notes) == 2


def test_tags_keep_checks_apart(comment: Call, forge: FakeForge) -> None:
    comment("--tag", "gpu")
    comment("--tag", "cpu")
    comment("--tag", "gpu")
    assert len(forge.notes) == 2


def test_our_comment_is_found_on_any_page(comment: Call, forge: FakeForge) -> None:
    for number in range(25):
        forge.add(f"comment {number}")
    forge.page_size = 10
    comment()
    comment()
    assert len(forge.notes) == 26


def test_a_quoted_marker_is_not_ours(comment: Call, forge: FakeForge) -> None:
    forge.add(f"> {MARKER}\n> quoted by a reviewer")
    comment()
    assert len(forge.notes) == 2


def test_dry_run_needs_no_token_and_sends_nothing(comment: Call, forge: FakeForge) -> None:
    done = comment("--dry-run", GITHUB_TOKEN="", GITLAB_TOKEN="")
    assert done.code == 0
    assert "### Cost of this change" in done.stdout
    assert forge.calls == []


def test_a_lost_answer_does_not_comment_twice(comment: Call, forge: FakeForge) -> None:
    forge.faults.append(Fault("POST", drop=True, after=True))
    assert comment().code == 0
    assert len(forge.notes) == 1


@pytest.mark.parametrize("drop", [True, False])
def test_a_lost_call_is_repeated(comment: Call, forge: FakeForge, drop: bool) -> None:
    forge.faults += [Fault("GET", drop=drop), Fault("GET", 502), Fault("POST", 503, drop=drop)]
    assert comment().code == 0
    assert len(forge.notes) == 1


def test_the_rate_limit_is_waited_for(comment: Call, forge: FakeForge) -> None:
    forge.faults += [
        Fault("GET", 429, {"Retry-After": "0"}),
        Fault("GET", 403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}),
        Fault("POST", 403, {"Retry-After": "0.01"}),
    ]
    assert comment().code == 0
    assert len(forge.notes) == 1


def test_a_long_rate_limit_is_an_error_that_says_when(comment: Call, forge: FakeForge) -> None:
    forge.faults.append(Fault("GET", 429, {"Retry-After": "3600"}))
    done = comment()
    assert done.code == 1
    assert "try again in 3600 s" in done.stderr


def test_a_dead_server_is_exit_1(comment: Call, forge: FakeForge) -> None:
    forge.faults += [Fault("GET", 500)] * 10
    done = comment()
    assert done.code == 1
    assert "500" in done.stderr


def test_a_bad_token_is_said_and_never_shown(comment: Call, forge: FakeForge) -> None:
    secret = "glpat-verysecret"
    done = comment(GITHUB_TOKEN=secret, GITLAB_TOKEN=secret)
    assert done.code == 1
    assert "token was refused" in done.stderr
    assert secret not in done.stdout + done.stderr


def test_the_token_is_not_shown_in_any_case(comment: Call, forge: FakeForge) -> None:
    for fault in (Fault("GET", 404), Fault("GET", 403), Fault("POST", 422), Fault("GET", 302)):
        forge.faults.append(fault)
        done = comment()
        assert done.code == 1
        assert TOKEN not in done.stdout + done.stderr


def test_a_crossed_limit_outweighs_a_failed_comment(comment: Call, forge: FakeForge) -> None:
    forge.faults.append(Fault("GET", 404))
    done = comment("--max-increase", "1%")
    assert done.code == 5
    assert "Warning" in done.stderr


def test_a_comment_deleted_meanwhile_is_written_anew(comment: Call, forge: FakeForge) -> None:
    forge.add(f"{MARKER}\nold")
    forge.faults.append(Fault("PATCH" if forge.flavour == "github" else "PUT", 404))
    assert comment().code == 0
    assert len(forge.notes) == 2


@pytest.mark.parametrize("behavior", ["update", "hide-and-new", "delete-and-new"])
def test_a_comment_of_another_bot_is_left_and_a_new_one_kept_up_to_date(
    comment: Call, forge: FakeForge, repository: Repository, behavior: str
) -> None:
    comment()
    forge.user = "the bot of a new token"
    (old,) = forge.notes
    for steps in (60_000, 80_000):
        repository.write("a.yaml", job_text("a", steps))
        done = comment("--behavior", behavior)
        assert done.code == 0
        assert sum(str(steps) in body for body in forge.bodies) == 1
    assert old in forge.notes
    if behavior == "delete-and-new":
        assert "left 1 earlier comment of another author" in done.stderr
    if behavior == "update":
        assert len(forge.notes) == 2


def test_who_may_write_nothing_is_told(comment: Call, forge: FakeForge) -> None:
    forge.faults.append(Fault("POST", 403))
    done = comment("--behavior", "new")
    assert done.code == 1
    assert "needs the right to write comments" in done.stderr


def test_the_pipeline_of_a_fork_comments_on_the_request_s_own_project(
    comment: Call, forge: FakeForge
) -> None:
    done = comment(CI_PROJECT_ID="99", CI_PROJECT_PATH="fork/ml", CI_MERGE_REQUEST_PROJECT_ID="42")
    # GitHub's variables name the target's repository in any case.
    assert done.code == 0, done.stderr
    assert len(forge.notes) == 1


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        (("--behavior", "updat"), {}, "did you mean update?"),
        (("--tag", "a b"), {}, "is not a tag"),
        ((), {"GITHUB_TOKEN": "", "GITLAB_TOKEN": ""}, "_TOKEN is not set"),
        ((), {"GITHUB_REF": "refs/heads/main", "CI_MERGE_REQUEST_IID": ""}, "--request NUMBER"),
        ((), {"GITHUB_API_URL": "http://api.example.org",
              "CI_API_V4_URL": "http://gitlab.example.org"}, "not an https address"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(
    comment: Call,
    forge: FakeForge,
    options: tuple[str, ...],
    environment: dict[str, str],
    said: str,
) -> None:
    done = comment(*options, **environment)
    assert done.code == 2
    assert said in done.stderr
    assert forge.calls == []


def test_an_unknown_forge(comment: Call) -> None:
    done = comment("--comment", "githbu")
    assert done.code == 2
    assert "did you mean github?" in done.stderr


def test_repository_and_number_can_be_named(comment: Call, forge: FakeForge) -> None:
    done = comment(
        "--repository", "acme/ml", "--request", "7",
        GITHUB_REPOSITORY="x", CI_PROJECT_ID="", GITHUB_REF="", CI_MERGE_REQUEST_IID="",
    )  # fmt: skip
    assert done.code == 0
    assert len(forge.notes) == 1


def test_github_s_event_names_the_pull_request(
    comment: Call, forge: FakeForge, tmp_path: Path
) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 7}}))
    done = comment(GITHUB_REF="", GITHUB_EVENT_PATH=str(event))
    assert done.code == 0


def test_redirects_are_not_followed_with_the_token() -> None:
    with running(FakeForge("github")) as target, running(FakeForge("github")) as forge:
        forge.faults.append(Fault("GET", 307, {"Location": f"{target.url}/repos/acme/ml"}))
        with pytest.raises(CloudError, match="307"):
            Api(forge.url, {"Authorization": f"Bearer {TOKEN}"}).get("repos/acme/ml")
        assert target.seen_tokens == set()


def test_pages_of_another_server_are_not_asked_for() -> None:
    with running(FakeForge("github")) as forge:
        api = Api(forge.url, {"Authorization": f"Bearer {TOKEN}"})
        with pytest.raises(CloudError, match="another server"):
            api.call("GET", "http://127.0.0.2:1/x")


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(CloudError, match="refused"):
        Api(url, {}, Http(sleep=lambda _: None)).call("POST", "x", {})


def test_addresses_must_be_encrypted() -> None:
    for url in ("http://example.org", "ftp://x", "file:///etc/passwd", ""):
        with pytest.raises(InputError, match="https"):
            Api(url, {})
