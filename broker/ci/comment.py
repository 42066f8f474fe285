"""Puts a check's Markdown where reviewers look, once, and keeps it up to date."""

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from mlbroker.broker.ci.check import CostCheck
from mlbroker.broker.ci.forge_api import NotAllowed, NotThere
from mlbroker.broker.ci.forges import FORGES, Comment, Forge, connector
from mlbroker.broker.ci.formats import markdown
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.http import Unanswered
from mlbroker.broker.output import print_line, say
from mlbroker.broker.words import count

_ATTEMPTS = 3


class ReviewRequest(NamedTuple):
    """Which request to comment on; None for what the CI system's environment says."""

    repository: str | None
    number: int | None


def prepare(
    forge_name: str, target: ReviewRequest, behavior: str, tag: str, *, dry_run: bool
) -> Callable[[CostCheck], None]:
    """What will comment with the `behavior` on a request; refuses at once what cannot work.

    Only comments with the same `tag` are touched.
    """
    connect = connector(_known(forge_name, "--comment", FORGES))
    act = BEHAVIORS[_known(behavior, "--behavior", BEHAVIORS)]
    if re.fullmatch(r"[A-Za-z0-9._-]{1,50}", tag) is None:
        raise InputError(
            f"{quoted(tag)} is not a tag", where="--tag", hint="letters, digits, dot and dash only"
        )
    marker = f"<!-- mlbroker check: {tag} -->"
    forge = None if dry_run else connect(target.repository, target.number)

    def comment(check: CostCheck) -> None:
        body = f"{marker}\n{markdown.render(check)}"
        if forge is None:
            say(f"Would comment on {forge_name} ({behavior}); nothing is sent:")
            print_line(body)
            return
        mine = [found for found in forge.comments() if found.body.startswith(marker)]
        say(f"{act(forge, mine, body)} ({forge_name}).")

    return comment


def _update(forge: Forge, mine: list[Comment], body: str) -> str:
    if mine and mine[-1].body.strip() == body.strip():
        return "The comment is up to date"
    for comment in reversed(mine):
        # One may be deleted by now, or be of a bot whose token was replaced: only its author edits.
        with suppress(NotThere, NotAllowed):
            forge.update(comment, body)
            return "Updated the comment"
    return _new(forge, mine, body)


def _new(forge: Forge, mine: list[Comment], body: str) -> str:
    """Write it once, although an answer may get lost after the comment was made."""
    before = {comment.id for comment in mine}
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            forge.create(body)
        except Unanswered:
            if any(
                comment.id not in before and comment.body.strip() == body.strip()
                for comment in forge.comments()
            ):
                break
            if attempt == _ATTEMPTS:
                raise
            time.sleep(attempt)
        else:
            break
    return "Commented"


def _hide_and_new(forge: Forge, mine: list[Comment], body: str) -> str:
    return _new(forge, mine, body) + _after(mine, forge.hide)


def _delete_and_new(forge: Forge, mine: list[Comment], body: str) -> str:
    return _new(forge, mine, body) + _after(mine, forge.delete)


def _after(mine: list[Comment], remove: Callable[[Comment], None]) -> str:
    """Remove the earlier comments, once there is a new one; words for those that must stay."""
    left = 0
    for comment in mine:
        try:
            remove(comment)
        except NotAllowed:
            left += 1
    return f", and left {count(left, 'earlier comment')} of another author" if left else ""


BEHAVIORS: dict[str, Callable[[Forge, list[Comment], str], str]] = {
    "update": _update,
    "new": _new,
    "hide-and-new": _hide_and_new,
    "delete-and-new": _delete_and_new,
}


def _known(name: str, option: str, names: Mapping[str, object]) -> str:
    if name in names:
        return name
    raise InputError(
        f"{quoted(name)} is unknown",
        where=option,
        hint=nearest_hint(name, names, "one of: {names}"),
    )
