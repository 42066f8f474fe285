"""An attempt's folder in the user's bucket: the job goes in, reports, logs and files come out.

The other end is `broker/guest/courier.py`, on the machine. Nothing here knows whose bucket it is.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbroker.broker.clouds.arriving import Arriving, arriving
from mlbroker.broker.clouds.guest_report import (
    REPORT_BYTES,
    Report,
    log_part_offset,
    report_in,
)
from mlbroker.broker.clouds.interface import Denied, Left, Unclear, one_line

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_BATCH = 500
# Parts of a file on its way in, which lie in memory, and how many travel at once.
_CHUNK_BYTES, _AT_ONCE = 32 << 20, 4
# More of a log is not looked through for where to go on: at one part in half a minute, six weeks.
LISTED_AT_MOST = 120_000
# Twice what the courier puts into a part of the log.
PART_BYTES = 8 << 20
# Parts of outputs: at the courier's size, three terabytes.
MOST_PARTS = 100_000


def run_folder(token: str) -> str:
    """An attempt's folder in the bucket."""
    return f"runs/{token}"


class BucketBox:
    """`where` is the bucket's name for messages, `folder` the attempt's folder in it.

    `hint` says how such a bucket comes to be.
    """

    def __init__(
        self, store: "ObjectStore", where: str, folder: str, hint: str | None = None
    ) -> None:
        self._store = store
        self._hint = hint
        self._where = where
        self._folder = folder

    def send(
        self, spec: Mapping[str, Any], program: bytes, payload: Mapping[str, Path | None]
    ) -> None:
        """Put everything the machine needs, the files of `payload` by their name."""
        for name, path in payload.items():
            if path is not None and path.exists():
                with self._errors():
                    self._put(name, path)
        with self._errors():
            self._put("guest.pyz", program)
            self._put("spec.json", json.dumps(spec, sort_keys=True).encode())

    def reports(self, nodes: int) -> list[Report]:
        """What each machine last said, by rank."""
        names = [f"{rank}/report.json" for rank in range(nodes)]
        return [report_in(self._get(name, REPORT_BYTES)) for name in names]

    def read_log(self, offset: int, rank: int) -> bytes:
        """The part that holds this offset, from there on; empty when it is not there yet."""
        # Parts are named by where they begin, and a reader mostly stops where one does.
        return self._get(_log_part(offset, rank), PART_BYTES) or self._middle_of_log(offset, rank)

    def _middle_of_log(self, offset: int, rank: int) -> bytes:
        import obstore

        folder = self._key(f"{rank}/log")

        begin: int | None = None
        with self._errors():
            listed = obstore.list(self._store, folder, chunk_size=_BATCH)
            for batch in islice(listed, LISTED_AT_MOST // _BATCH):
                for meta in batch:
                    found = log_part_offset(meta["path"].rpartition("/")[2])
                    if found is not None and (begin or 0) <= found <= offset:
                        begin = found
        if begin is None:
            return b""
        return (self._get(_log_part(begin, rank), PART_BYTES) or b"")[offset - begin :]

    def left(self, name: str, rank: int) -> Left | None:
        """How much a machine left under this name, whole or in parts, by the bucket's listing."""
        import obstore

        key = self._key(f"{rank}/{name}")
        with self._errors():
            beside = obstore.list_with_delimiter(self._store, key.rpartition("/")[0])["objects"]
            found = sum(meta["size"] for meta in beside if meta["path"] == key)
            if not found:
                parts = obstore.list(self._store, f"{key}/", chunk_size=_BATCH)
                batches = islice(parts, MOST_PARTS // _BATCH)
                found = sum(meta["size"] for batch in batches for meta in batch)
        return Left(found, f"{self._where}, {key}") if found else None

    def fetch(self, name: str, target: Path, rank: int, most_bytes: int | None = None) -> bool:
        """Copy what a machine left; False when it left no such file.

        Denied where it is longer than `most_bytes`: a job may write there meanwhile.
        """
        with arriving(target, most_bytes) as file:
            if not self._copy(f"{rank}/{name}", file):
                # Outputs come in parts, named by where they begin.
                for _ in range(MOST_PARTS):
                    if not self._copy(f"{rank}/{name}/{file.written:015d}", file):
                        break
        return file.written > 0

    def _copy(self, name: str, into: Arriving) -> bool:
        import obstore

        began = into.written
        with self._errors():
            try:
                found = obstore.get(self._store, self._key(name))
            except FileNotFoundError:
                return False
            for chunk in found:
                into.write(bytes(chunk))
        return into.written > began

    def ask_to_stop(self, why: str) -> None:
        """Leave the request where the machine looks for it."""
        with self._errors():
            self._put("stop", why.encode())

    def discard(self) -> None:
        """Remove the folder."""
        self._empty(self._folder)

    def discard_all_but(self, name: str) -> None:
        """Remove all but this folder in it."""
        self._empty(self._folder, f"{self._folder}/{name}/")

    def _empty(self, folder: str, but: str | None = None) -> None:
        import obstore

        with self._errors():
            for batch in obstore.list(self._store, folder, chunk_size=_BATCH):
                found = [meta["path"] for meta in batch]
                paths = [path for path in found if but is None or not path.startswith(but)]
                if not paths:
                    continue
                try:
                    obstore.delete(self._store, paths)
                except FileNotFoundError:
                    # One was gone already: its answer was lost and the request repeated.
                    for path in paths:
                        with suppress(FileNotFoundError):
                            obstore.delete(self._store, path)

    def _key(self, name: str) -> str:
        """Where a file of the attempt lies; those of one machine begin with its rank."""
        return f"{self._folder}/{name}"

    def _put(self, name: str, content: bytes | Path) -> None:
        import obstore

        # A large file goes in parts, and each is a request.
        obstore.put(
            self._store, self._key(name), content, chunk_size=_CHUNK_BYTES, max_concurrency=_AT_ONCE
        )

    def _get(self, name: str, at_most: int) -> bytes | None:
        """An object, as much of it as anybody may expect, and a byte more where it is longer."""
        import obstore

        data = bytearray()
        with self._errors():
            try:
                found = obstore.get(self._store, self._key(name))
            except FileNotFoundError:
                return None
            for chunk in found:
                data += chunk
                if len(data) > at_most:
                    break
        return bytes(data[: at_most + 1])

    def _errors(self) -> AbstractContextManager[None]:
        return store_errors(self._where, self._hint)


@contextmanager
def store_errors(where: str, hint: str | None) -> Iterator[None]:
    """Turn what a bucket's library raises into a CloudError that says what to do."""
    from obstore.exceptions import BaseError as StoreError
    from obstore.exceptions import (
        NotFoundError,
        PermissionDeniedError,
        UnauthenticatedError,
    )

    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise Denied(f"the bucket may not be used: {one_line(error)}", where=where) from None
    except (NotFoundError, FileNotFoundError) as error:
        raise Denied(
            f"there is no such bucket: {one_line(error)}", where=where, hint=hint
        ) from None
    except StoreError as error:
        raise Unclear(f"the bucket does not answer: {one_line(error)}", where=where) from None


def _log_part(offset: int, rank: int) -> str:
    return f"{rank}/log/{offset:015d}"
