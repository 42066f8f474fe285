"""Comments on GitLab merge requests, which GitLab calls notes."""

import os
from contextlib import suppress
from urllib.parse import quote

from mlbroker.broker.ci.forge_api import Api, NotThere
from mlbroker.broker.ci.forges import Comment
from mlbroker.broker.errors import InputError


class GitLab:
    """One merge request."""

    def __init__(self, api: Api, project: str, number: int) -> None:
        self._api = api
        self._notes = f"projects/{quote(project, safe='')}/merge_requests/{number}/notes"

    def comments(self) -> list[Comment]:
        """All comments, oldest first; what GitLab itself notes is left out."""
        found = self._api.pages(f"{self._notes}?per_page=100&sort=asc&order_by=created_at")
        return [Comment.of(item) for item in found if not item.get("system")]

    def create(self, body: str) -> None:
        """Write a new comment."""
        self._api.call("POST", self._notes, {"body": body})

    def update(self, comment: Comment, body: str) -> None:
        """Replace a comment's body."""
        self._api.call("PUT", f"{self._notes}/{comment.id}", {"body": body})

    def delete(self, comment: Comment) -> None:
        """Remove a comment."""
        with suppress(NotThere):
            self._api.call("DELETE", f"{self._notes}/{comment.id}")

    def hide(self, comment: Comment) -> None:
        """GitLab cannot hide a comment: its text is folded, and no longer marked as ours."""
        text = comment.body.partition("\n")[2]
        self.update(comment, f"<details><summary>Outdated</summary>\n\n{text}\n</details>")


def connect(repository: str | None, number: int | None) -> GitLab:
    """From GITLAB_TOKEN and, in GitLab CI, the job's own variables."""
    token = os.environ.get("GITLAB_TOKEN")
    if not token:
        raise InputError(
            "GITLAB_TOKEN is not set",
            hint="a project access token with scope api, as a masked CI/CD variable"
            " (CI_JOB_TOKEN may not write comments)",
        )
    # A request from a fork may have its pipeline there; its notes are in the target's project.
    names = ("CI_MERGE_REQUEST_PROJECT_ID", "CI_PROJECT_ID", "CI_PROJECT_PATH")
    project = repository or next(filter(None, map(os.environ.get, names)), None)
    if not project:
        raise InputError("the project is not known", hint="name it: --repository GROUP/NAME")
    iid = os.environ.get("CI_MERGE_REQUEST_IID", "")
    number = number or (int(iid) if iid.isdigit() else None)
    if number is None:
        raise InputError("this does not run for a merge request", hint="name it: --request NUMBER")
    url = os.environ.get("CI_API_V4_URL") or "https://gitlab.com/api/v4"
    return GitLab(Api(url, {"PRIVATE-TOKEN": token}), project, number)
