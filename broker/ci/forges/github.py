"""Comments on GitHub pull requests: REST, and GraphQL for the one thing REST cannot do."""

import json
import os
import re
from contextlib import suppress
from pathlib import Path

from mlbroker.broker.ci.forge_api import Api, NotThere
from mlbroker.broker.ci.forges import Comment
from mlbroker.broker.errors import CloudError, InputError

_HIDE = (
    "mutation($id: ID!) { minimizeComment(input: {subjectId: $id, classifier: OUTDATED})"
    " { minimizedComment { isMinimized } } }"
)


class GitHub:
    """One pull request."""

    def __init__(self, api: Api, graphql: Api, repository: str, number: int) -> None:
        self._api = api
        self._graphql = graphql
        self._comments = f"repos/{repository}/issues/comments"
        self._of_request = f"repos/{repository}/issues/{number}/comments"
        self._nodes: dict[str, str] = {}

    def comments(self) -> list[Comment]:
        """All comments, oldest first."""
        found = self._api.pages(f"{self._of_request}?per_page=100")
        comments = [Comment.of(item) for item in found]
        self._nodes = {
            comment.id: item.get("node_id", "")
            for comment, item in zip(comments, found, strict=True)
        }
        return comments

    def create(self, body: str) -> None:
        """Write a new comment."""
        self._api.call("POST", self._of_request, {"body": body})

    def update(self, comment: Comment, body: str) -> None:
        """Replace a comment's body."""
        self._api.call("PATCH", f"{self._comments}/{comment.id}", {"body": body})

    def delete(self, comment: Comment) -> None:
        """Remove a comment."""
        with suppress(NotThere):
            self._api.call("DELETE", f"{self._comments}/{comment.id}")

    def hide(self, comment: Comment) -> None:
        """Fold a comment away as outdated."""
        query = {"query": _HIDE, "variables": {"id": self._nodes[comment.id]}}
        answer = self._graphql.call("POST", "graphql", query, repeatable=True).document
        if not isinstance(answer, dict) or answer.get("errors"):
            raise CloudError("GitHub did not hide an earlier comment")


def connect(repository: str | None, number: int | None) -> GitHub:
    """From GITHUB_TOKEN and, in Actions, the runner's own variables."""
    token = os.environ.get("GITHUB_TOKEN")
    if not token:
        raise InputError(
            "GITHUB_TOKEN is not set",
            hint="in a workflow: env: {GITHUB_TOKEN: ${{ github.token }}}",
        )
    repository = repository or os.environ.get("GITHUB_REPOSITORY", "")
    if re.fullmatch(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+", repository) is None:
        raise InputError(
            f"{repository!r} is not a repository", where="--repository", hint="write OWNER/NAME"
        )
    number = number or _number()
    if number is None:
        raise InputError("this does not run for a pull request", hint="name it: --request NUMBER")
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    url = os.environ.get("GITHUB_API_URL") or "https://api.github.com"
    graphql = os.environ.get("GITHUB_GRAPHQL_URL") or "https://api.github.com/graphql"
    return GitHub(
        Api(url, headers), Api(graphql.removesuffix("/graphql"), headers), repository, number
    )


def _number() -> int | None:
    """The pull request's number, from the event or from the name of the merge commit's ref."""
    event = os.environ.get("GITHUB_EVENT_PATH")
    if event:
        try:
            found = json.loads(Path(event).read_text("utf-8"))["pull_request"]["number"]
            return int(found)
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            pass
    in_ref = re.fullmatch(r"refs/pull/(\d+)/\w+", os.environ.get("GITHUB_REF", ""))
    return int(in_ref[1]) if in_ref else None
