"""One thing that has to be right before a cloud can be used, and what to do when it is not."""

from typing import NamedTuple


class Check(NamedTuple):
    """`ok` is None where it could not be found out."""

    name: str
    ok: bool | None
    says: str
    hint: str | None = None
