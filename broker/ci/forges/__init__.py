"""Where comments go. A new forge is one file with a class and one entry here."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple, Protocol, cast

from mlbroker.broker.errors import CloudError


class Comment(NamedTuple):
    """A comment as the forge knows it."""

    id: str
    body: str

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "Comment":
        """One item of a list; its number becomes part of an address, so it has to be one."""
        number, body = item.get("id"), item.get("body") or ""
        if type(number) is not int or not isinstance(body, str):
            raise CloudError("the forge lists a comment that has no number, or no text")
        return cls(str(number), body)


class Forge(Protocol):
    """One pull or merge request of a forge, whose comments can be read and written."""

    def comments(self) -> list[Comment]:
        """All comments, oldest first."""
        ...

    def create(self, body: str) -> None:
        """Write a new comment."""
        ...

    def update(self, comment: Comment, body: str) -> None:
        """Replace a comment's body."""
        ...

    def delete(self, comment: Comment) -> None:
        """Remove a comment; one that is gone already is no error."""
        ...

    def hide(self, comment: Comment) -> None:
        """Fold a comment away as outdated."""
        ...


# Finds the request to comment on from the repository and number given, None for what the CI
# system's environment says.
Connector = Callable[[str | None, int | None], Forge]

# Name -> module under this package, which has a function `connect`.
FORGES: dict[str, str] = {"github": "github", "gitlab": "gitlab"}


def connector(name: str) -> Connector:
    """The function that connects to the forge `name`."""
    return cast(Connector, import_module(f"{__name__}.{FORGES[name]}").connect)
