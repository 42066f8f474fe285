"""Text batches: how many of their places hold a token, and how many are padding.

What says so, best first: `attention_mask`; the collator's pad id; labels of -100 over a run of one
value; else the value that ends rows and stands nowhere else in them, which is a guess and is told
as one. Rows that were packed or flattened into one have no padding. Where there are labels of
places, those that bear a loss are counted too. Looking takes at most the share MOST_SHARE of the
job's time: where steps are faster than that allows, only some of their batches are looked at.
"""

import math
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Deque, Dict, List, NamedTuple, Optional, Tuple

MOST_SHARE = 0.003
# A loader whose first batches hold no text holds none.
TRIES = 16
# A shorter row of integers is a row of a table rather than a text.
LEAST_LENGTH = 8
# Of so many steps of like size, the latest, the median time is told.
KEPT_TIMES = 33
# As many sizes as the line of a note holds.
TOLD_SHAPES = 6
# What PyTorch's losses leave out.
NO_LABEL = -100
PACKED = ("cu_seq_lens_q", "cu_seqlens", "seq_idx", "position_ids")


class Seen(NamedTuple):
    """One batch: the real length of each row, its width, who says so, and how many of its places
    have a label; None where there are no labels of places.
    """

    lengths: List[int]
    width: int
    by: str
    labelled: Optional[int] = None


class _Size:
    """Steps of like size: how many, their sums of B·L and B·L², and the latest times in s."""

    def __init__(self) -> None:
        self.steps = 0
        self.slots = 0
        self.squares = 0
        self.times_s: List[float] = []

    def add(self, slots: int, squares: int, time_s: float) -> None:
        if len(self.times_s) < KEPT_TIMES:
            self.times_s.append(time_s)
        else:
            self.times_s[self.steps % KEPT_TIMES] = time_s
        self.steps += 1
        self.slots += slots
        self.squares += squares

    def told(self) -> str:
        median = sorted(self.times_s)[len(self.times_s) // 2]
        mean = (self.slots / self.steps, self.squares / self.steps)
        return "%d:%.5g:%.5g:%.4g" % (self.steps, mean[0], mean[1], median)


class Tokens:
    """Sums over the steps all of whose batches were looked at."""

    def __init__(self) -> None:
        self.real = 0
        self.padded = 0
        self.steps = 0
        self.by = ""
        self.labelled: Optional[int] = 0
        self._lengths: Dict[int, int] = {}
        self._sizes: Dict[int, _Size] = {}
        self._pending: Deque[Optional[Seen]] = deque(maxlen=64)
        self._last_s: Optional[float] = None
        self._began_s: Optional[float] = None
        self._spent_s = 0.0
        self._tries = 0
        self._found = False
        self._guess: Optional[int] = None
        self._no_guess = False
        self._labels = _Labels()

    def saw(self, batch: Any, collate: Any) -> None:
        """The loop was handed a batch, by a loader with this collator."""
        began = time.perf_counter()
        if self._began_s is None:
            self._began_s = began
        elif not self._found and self._tries >= TRIES:
            return
        elif self._spent_s > MOST_SHARE * (began - self._began_s):
            self._pending.append(None)
            return
        try:
            seen = self._look(batch, collate)
        except Exception:
            # It is told once, and never tried again: a loader has a great many batches.
            self._tries, self._found = TRIES, False
            raise
        self._tries += 1
        self._found = self._found or seen is not None
        self._pending.append(seen)
        self._spent_s += time.perf_counter() - began

    def stepped(self, batches: int) -> None:
        """The optimizer made a step, of the last so many batches (others were for evaluation)."""
        if not self._found or not self._pending:
            return
        now = time.perf_counter()
        taken = list(self._pending)[-batches:]
        self._pending.clear()
        before, self._last_s = self._last_s, now
        seen = [batch for batch in taken if batch is not None]
        if len(seen) < len(taken):
            return
        slots = squares = 0
        for batch in seen:
            places = len(batch.lengths) * batch.width
            slots += places
            squares += places * batch.width
            self.real += sum(batch.lengths)
            self.by = batch.by
            if batch.labelled is None:
                self.labelled = None
            elif self.labelled is not None:
                self.labelled += batch.labelled
            for length in batch.lengths:
                edge = 1 << (length - 1).bit_length() if length else 0
                self._lengths[edge] = self._lengths.get(edge, 0) + 1
        self.padded += slots
        self.steps += 1
        if before is not None and slots:
            size = self._sizes.setdefault(int(2 * math.log2(slots)), _Size())
            size.add(slots, squares, now - before)
        self._spent_s += time.perf_counter() - now

    def notes(self) -> List[Tuple[str, object]]:
        """What is to be told, as keys and values; nothing where no text was seen."""
        if not self.steps or (self.by == "shape" and self._guess is None):
            return []
        lengths = " ".join("%d:%d" % pair for pair in sorted(self._lengths.items()))
        most = sorted(self._sizes.values(), key=lambda size: -size.steps)[:TOLD_SHAPES]
        labelled = [] if self.labelled is None else [("tokens_labelled", self.labelled)]
        return [
            *labelled,
            ("tokens_real", self.real),
            ("tokens_padded", self.padded),
            ("tokens_steps", self.steps),
            ("tokens_by", "guess" if self.by == "shape" else self.by),
            ("tokens_lengths", lengths),
            ("tokens_sizes", " ".join(size.told() for size in most)),
        ]

    def _look(self, batch: Any, collate: Any) -> Optional[Seen]:
        if isinstance(batch, Mapping):
            return self._look_named(batch, collate, [])
        parts = _parts(batch)
        for part in parts:
            if isinstance(part, Mapping):
                return self._look_named(part, collate, parts)
        ids = next((part for part in parts if _is_text(part)), None)
        if ids is None:
            return None
        kept = self._labels.kept(ids, [part for part in parts if part is not ids])
        return self._look_bare(ids, collate, kept, "shape")

    def _look_named(self, batch: Any, collate: Any, beside: List[Any]) -> Optional[Seen]:
        ids, mask = batch.get("input_ids"), batch.get("attention_mask")
        if ids is None and mask is None:  # as KerasHub has them
            ids, mask = batch.get("token_ids"), batch.get("padding_mask")
        if _is_table(mask) and (ids is None or tuple(mask.shape) == tuple(ids.shape)):
            kept = self._labels.named(mask, batch)
            real = (mask != 0).sum(1).tolist()
            return Seen(real, mask.shape[1], "mask", _count(kept))
        if not _is_table(ids):
            return None
        kept = self._labels.named(ids, batch)
        if mask is None and any(name in batch for name in PACKED) and ids.shape[0] == 1:
            return Seen([ids.shape[1]], ids.shape[1], "packed", _count(kept))
        if kept is None:
            kept = self._labels.kept(ids, beside)
        return self._look_bare(ids, collate, kept, "guess")

    def _look_bare(self, ids: Any, collate: Any, kept: Any, by: str) -> Optional[Seen]:
        """Token ids without a mask; `kept` are the places that have a label."""
        pad, end = _special_ids(collate)
        width, labelled = ids.shape[1], _count(kept)
        if pad is not None and pad != end:
            return Seen((ids != pad).sum(1).tolist(), width, "pad id", labelled)
        real = None if kept is None else self._labels.lengths(ids, kept, pad)
        if real is not None:
            return Seen(real, width, "labels", labelled)
        if pad is not None:
            # The first of a run of them is the end of the text itself.
            run = _run_at_end(ids == pad)
            return Seen([width - n + (n > 0) for n in run.tolist()], width, "guess", labelled)
        return Seen(self._guessed(ids), width, by, labelled)

    def _guessed(self, ids: Any) -> List[int]:
        """Lengths by the value that ends rows in a run and stands nowhere else in them."""
        width = ids.shape[1]
        whole = [width] * ids.shape[0]
        if self._no_guess:
            return whole
        pad = self._guess
        if pad is None:
            ends = ids[:, -2:]
            repeated = ends[ends[:, 0] == ends[:, 1], 1]
            if not len(repeated):
                return whole
            pad = int(repeated[0])
        run = _run_at_end(ids == pad)
        if bool(((ids == pad).sum(1) != run).any()):
            self._guess, self._no_guess = None, True
            return whole
        self._guess = pad
        return [width - n for n in run.tolist()]


class _Labels:
    """Labels of places: what of them bears a loss, and which run of their -100 is padding.

    Other places than padding have no label either (a prompt's, those that are not masked), so the
    ids must be one value there, at the same side of all rows.
    """

    def __init__(self) -> None:
        self._seen = False
        self._pad: Optional[int] = None
        self._left = False

    def named(self, ids: Any, batch: Any) -> Any:
        """Where the batch's `labels` are some, a truth of each place; None without such labels."""
        labels = batch.get("labels")
        if not _is_table(labels) or labels.shape != ids.shape or labels.dtype.is_floating_point:
            return None
        return labels != NO_LABEL

    def kept(self, ids: Any, others: List[Any]) -> Any:
        """The same where nothing has a name: a table of the ids' shape that holds a -100."""
        for other in others:
            if _is_text(other) and other.shape == ids.shape:
                kept = other != NO_LABEL
                self._seen = self._seen or not bool(kept.all())
                return kept if self._seen else None
        return None

    def lengths(self, ids: Any, kept: Any, pad: Optional[int]) -> Optional[List[int]]:
        """Of each row; None where no run of padding was seen yet."""
        if self._pad is None and not self._find(ids, kept, pad):
            return None
        run = (ids == self._pad) & ~kept
        found = _run_at_end(run.flip(1) if self._left else run)
        return [ids.shape[1] - n for n in found.tolist()]

    def _find(self, ids: Any, kept: Any, pad: Optional[int]) -> bool:
        """Which value is padding, and on which side: two of it without a label end some row."""
        for left in (False, True):
            first, second = (0, 1) if left else (-1, -2)
            twice = (ids[:, first] == ids[:, second]) & ~(kept[:, first] | kept[:, second])
            values = set(ids[twice, first].tolist())
            if len(values) > 1:  # of words, others of the batch have a label
                values -= set(ids[kept].tolist())
            if len(values) == 1 and (pad is None or pad in values):
                self._pad, self._left = values.pop(), left
                return True
        return False


def _parts(batch: Any) -> List[Any]:
    """Of a pair, where inputs may stand in a list of their own."""
    found: List[Any] = []
    for part in batch if isinstance(batch, (list, tuple)) else [batch]:
        found += part if isinstance(part, (list, tuple)) else [part]
    return found


def _is_table(value: Any) -> bool:
    """A tensor of two dimensions in the processor's memory: others would have to be waited for."""
    return getattr(value, "ndim", 0) == 2 and str(getattr(value, "device", "")) == "cpu"


def _is_text(value: Any) -> bool:
    """Whether it may be token ids: integers, and rows of some length."""
    if not _is_table(value) or value.shape[1] < LEAST_LENGTH:
        return False
    return str(value.dtype) in ("torch.int64", "torch.int32")


def _special_ids(collate: Any) -> Tuple[Optional[int], Optional[int]]:
    """The pad id and the end's that a collator has, or its tokenizer."""
    for owner in (
        getattr(collate, "tokenizer", None),
        getattr(collate, "processing_class", None),
        collate,
    ):
        for name in ("pad_token_id", "pad_id"):
            pad = getattr(owner, name, None)
            if isinstance(pad, int):
                end = getattr(owner, "eos_token_id", None)
                return pad, end if isinstance(end, int) else None
    return None, None


def _count(truths: Any) -> Optional[int]:
    return None if truths is None else int(truths.sum())


def _run_at_end(truths: Any) -> Any:
    """How many places in a row are true at the end of each row."""
    other = ~truths.flip(1)
    first = other.int().argmax(1)
    return first.masked_fill(~other.any(1), truths.shape[1])
