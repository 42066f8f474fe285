"""What the module of another tool offers: a reader of its files."""

from typing import Protocol

from mlbroker.broker.files.other_tools.carrying import Carrying


class Reader(Protocol):
    """Reads a file of the tool."""

    def read(self, text: str, carrying: Carrying) -> None:
        """Put what `text` says into `carrying`: every key is carried over, or named as left.

        Raises InputError, with file and line, for what the tool itself would refuse.
        """
