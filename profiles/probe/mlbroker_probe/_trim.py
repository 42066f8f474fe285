"""Cuts off columns of a text batch that are padding in all of its rows.

Only where that is sure to leave what the job computes alone: the mask says that they are padding,
the ids there are all the same, and nothing else in the batch may be as wide without being cut.
Everything else is refused with the reason. Whether the model itself looks at padding, nobody can
see from here: `mlbroker profile --try trim` compares its losses.
"""

import copy
import sys
from collections.abc import Mapping
from typing import Any, Iterator, List, Tuple

# What a tokenizer gives for each place; cut wherever the mask is.
PLACES = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "special_tokens_mask")

Named = List[Tuple[Any, Any]]


class Refused(Exception):
    """Why a batch may not be cut."""


def trimmed(batch: Any, multiple: int = 1, pinned: bool = False) -> Any:
    """The batch without such columns, its width a multiple of so many where it was that wide; the
    very same batch where there are none. Nothing of the given one is changed.
    """
    named, others = _parts(batch)
    mask = _mask_of(named)
    first, end = _edges(mask, multiple)
    width = mask.shape[1]
    if end - first == width:
        return batch
    cut = {}
    for key, value in named.items():
        if _is_cut(key, value, mask, first, end):
            cut[key] = _narrowed(value, first, end, pinned)
    beside = {
        place: _narrowed(value, first, end, pinned)
        for place, value in others
        if _is_cut("part %d" % place, value, mask, first, end)
    }
    new = copy.copy(named)
    for key, value in cut.items():
        new[key] = value
    if named is batch:
        return new
    parts = [new if part is named else beside.get(i, part) for i, part in enumerate(batch)]
    return batch._make(parts) if hasattr(batch, "_make") else type(batch)(parts)


def mask_of(batch: Any) -> Any:
    """The batch's mask, rows by places, in the processor's memory; Refused where it has none."""
    return _mask_of(_parts(batch)[0])


def _parts(batch: Any) -> Tuple[Any, Named]:
    """The part with names, and what stands beside it by its place."""
    if isinstance(batch, Mapping):
        return batch, []
    if isinstance(batch, (list, tuple)):
        for part in batch:
            if isinstance(part, Mapping):
                return part, [(i, other) for i, other in enumerate(batch) if other is not part]
    raise Refused("its batches have no attention_mask")


def _mask_of(named: Any) -> Any:
    mask, ids = named.get("attention_mask"), named.get("input_ids")
    if not _is_tensor(mask) or mask.ndim != 2:
        raise Refused("its batches have no attention_mask of rows and places")
    if not _is_tensor(ids) or ids.shape != mask.shape:
        raise Refused("its batches have no input_ids of the mask's shape")
    if str(mask.device) != "cpu" or str(ids.device) != "cpu":
        raise Refused("its batches lie on an accelerator before the loop has them")
    if mask.dtype.is_floating_point and not bool(((mask == 0) | (mask == 1)).all()):
        raise Refused("its mask is of numbers to add")
    return mask


def _edges(mask: Any, multiple: int) -> Tuple[int, int]:
    """The first column that holds a token, and the one after the last."""
    width = int(mask.shape[1])
    used = (mask != 0).any(0).nonzero()
    if not len(used):
        return 0, width
    first, end = int(used[0]), int(used[-1]) + 1
    wanted = min(width, -(-(end - first) // multiple) * multiple)
    end = min(width, first + wanted)
    return end - wanted, end


def _is_cut(name: str, value: Any, mask: Any, first: int, end: int) -> bool:
    """Whether it goes by places as the mask does; Refused where that is not sure."""
    width = mask.shape[1]
    if not _is_tensor(value):
        if any(width in shape for shape in _shapes(value)):
            raise Refused("`%s` may be as wide as the mask, and is no tensor" % name)
        return False
    if width not in value.shape[1:]:
        return False
    if value.shape != mask.shape:
        raise Refused("`%s` of shape %s may be as wide as the mask" % (name, tuple(value.shape)))
    if name in PLACES and name != "input_ids":
        return True
    gone = [part for part in (value[:, :first], value[:, end:]) if part.numel()]
    if value.dtype.is_floating_point or any(bool((p != gone[0][0, 0]).any()) for p in gone):
        raise Refused("`%s` holds more than padding where the mask says padding" % name)
    return True


def _shapes(value: Any) -> Iterator[Tuple[int, ...]]:
    """Of what stands in a list or a mapping for each row."""
    parts = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, (list, tuple, Mapping)):
        for part in parts:
            if _is_tensor(part):
                yield tuple(part.shape)
            elif isinstance(part, (list, tuple)):
                yield (len(part),)


def _narrowed(value: Any, first: int, end: int, pinned: bool) -> Any:
    part = value[:, first:end].contiguous()
    return part.pin_memory() if pinned else part


def _is_tensor(value: Any) -> bool:
    return isinstance(value, sys.modules["torch"].Tensor)
