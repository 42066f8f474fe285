"""The price book that ships inside the package: one compressed JSON document, columns first.

`pricing/data/book.json.xz` holds the facts, `pricing/data/book.json` describes it (its hash, its
date, its counts) so that opening an index that is already built never reads the large file.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from mlbroker.pricing import offer

FORMAT = 1
# Beside the package's modules: importlib.resources would take longer than reading the file.
FOLDER = Path(offer.__file__).parent / "data"
DATA = "book.json.xz"
DESCRIPTION = "book.json"


class Description(NamedTuple):
    """Which embedded book this is."""

    sha256: str
    built: str


@cache
def description() -> Description:
    """The small file beside the data."""
    facts = json.loads((FOLDER / DESCRIPTION).read_text("utf-8"))
    return Description(facts["sha256"], facts["built"])


def load() -> dict[str, Any]:
    """The whole document; its keys are listed in `scripts/price_book/make.py`."""
    import lzma  # only the first call after an install comes here

    document: dict[str, Any] = json.loads(lzma.decompress((FOLDER / DATA).read_bytes()))
    if document["format"] != FORMAT:
        raise ValueError(f"price book format {document['format']}, this version reads {FORMAT}")
    return document
