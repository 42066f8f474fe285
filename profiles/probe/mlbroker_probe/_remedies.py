"""What a job file's `broker: {nlp: …}` asks for, done to the batches on their way to the loop.

MLBROKER_NLP says what: `trim`, `group=50`, in a trial `bf16` and `workers=4` too, with commas
between.
Whatever cannot be done safely is left out, with the reason on the job's stderr and in its record;
the job itself goes on as it would without.
"""

import os
import sys
from typing import Any, Callable, Dict, Optional, Set

from ._bf16 import Bf16
from ._group import Grouped, Round, window_of
from ._trim import Refused, trimmed

# Who compiles for each width of a batch anew is given few of them.
COMPILED_MULTIPLE = 64

_compilers: Set[str] = set()


class Remedies:
    """The wishes of this process; `note` keeps a word beside its steps."""

    def __init__(
        self, wishes: Dict[str, str], try_steps: int, note: Callable[[str, object], None]
    ) -> None:
        self._trims = "trim" in wishes
        self._window = int(wishes.get("group") or 0)
        # Only tried out: how many a loader has, and how a model computes, is the script's to say.
        self._workers = int(wishes.get("workers") or 0)
        self._lowers = "bf16" in wishes
        self._bf16: Optional[Bf16] = None
        self._try_steps = try_steps
        self._note = note
        self._told: Dict[str, str] = {}

    def found(self, torch: Any) -> None:
        """The job has imported torch."""
        if self._lowers:
            self._bf16 = Bf16(torch, lambda text, on: self._tell("bf16", text, on), _compilers)
            self._bf16.begin()

    def scaled(self) -> None:
        """The job scales a loss, so that half precision can hold its gradients."""
        if self._bf16 is not None:
            self._bf16.refuse("the job has a GradScaler, and so its own precision")

    def begins(self, loader: Any) -> None:
        """The loop enters a loader."""
        if (self._trims or self._window) and _ranks() > 1:
            # They exchange what must be of one shape, and make equally many steps.
            reason = "the job has several ranks"
            if self._trims:
                self._refuse_trim(reason)
            if self._window:
                self._window = 0
                self._tell_group(reason, False)
        if self._workers and loader.num_workers == 0:
            loader.num_workers, loader.prefetch_factor = self._workers, 2
            self._tell("workers", "on", True)
        sampler: Any = getattr(loader, "batch_sampler", None)
        if not self._window or isinstance(sampler, Grouped):
            return
        try:
            window = window_of(loader, self._window)
        except Refused as refused:
            self._tell_group(str(refused), False)
            return
        ahead = self._try_steps and (self._try_steps + 2 * window) * sampler.batch_size
        grouped = Grouped(loader, window, self._tell_group, ahead)
        # DataLoader forbids it by its own __setattr__, as it would not look there again; but its
        # iterators do.
        object.__setattr__(loader, "batch_sampler", grouped)
        self._note("nlp_window", window)
        self._note("nlp_epoch_batches", len(sampler))

    def handed(self, batch: Any, iterator: Any) -> Any:
        """The batch as the loop is to have it."""
        rows = getattr(iterator, "_sampler_iter", None)
        if isinstance(rows, Round):
            rows.came(batch)
        if not self._trims:
            return batch
        try:
            return self._trim(batch, bool(getattr(iterator, "_pin_memory", False)))
        except Refused as refused:
            self._refuse_trim(str(refused))
        except Exception as error:
            self._refuse_trim("it fails: %r" % error)
        return batch

    def _trim(self, batch: Any, pinned: bool) -> Any:
        if "CUDA graphs" in _compilers:
            raise Refused("CUDA graphs are of one shape")
        compiled = _compilers or "torch_xla" in sys.modules
        found = trimmed(batch, COMPILED_MULTIPLE if compiled else 1, pinned)
        if found is not batch:
            self._tell("trim", "on", True)
        return found

    def _refuse_trim(self, reason: str) -> None:
        self._trims = False
        self._tell("trim", reason, False)

    def _tell_group(self, text: str, on: bool) -> None:
        if on or not self._told.get("group", "").startswith("on"):
            self._tell("group", text, on)

    def _tell(self, name: str, text: str, on: bool) -> None:
        said = text if on else "off: " + text
        if self._told.get(name) != said:
            self._told[name] = said
            self._note("nlp_" + name, said)
            sys.stderr.write("mlbroker: %s is %s\n" % (name, said))


def wanted(note: Callable[[str, object], None]) -> Optional[Remedies]:
    """Those that the job file asks for; None where it asks for none."""
    text = os.environ.get("MLBROKER_NLP", "")
    if not text:
        return None
    wishes = {word.partition("=")[0]: word.partition("=")[2] for word in text.split(",")}
    return Remedies(wishes, int(os.environ.get("MLBROKER_TRY_STEPS") or 0), note)


def know_compilers(module: Any) -> None:
    """From now on it is known whether the job compiles, or records graphs."""
    if not os.environ.get("MLBROKER_NLP"):
        return
    _mark(module, "compile", "torch.compile")
    _mark(module.cuda.graphs.CUDAGraph, "capture_begin", "CUDA graphs")


def _mark(owner: Any, name: str, compiler: str) -> None:
    original = getattr(owner, name)

    def marked(*args: Any, **kwargs: Any) -> Any:
        _compilers.add(compiler)
        return original(*args, **kwargs)

    setattr(owner, name, marked)


def _ranks() -> int:
    for name in ("WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_world_size())
    return 1
