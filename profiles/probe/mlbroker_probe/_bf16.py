"""In a trial: the job's models compute in bfloat16, as if autocast stood around their calls.

Around the outermost calls alone, which give back float32, as Hugging Face's Accelerate does it: the
loss, the weights and the optimizer stay as they are. What the job does about precision itself is
left alone, and the remedy refused.
"""

from collections.abc import Mapping
from typing import Any, Callable, Optional, Set

# The first GPUs of Nvidia with bfloat16 in their hardware.
LEAST_CAPABILITY = (8, 0)


class Bf16:
    """Of this process. `tell` is given a word and whether it is on, as often as one likes;
    `compilers` are those that the job was seen to use.
    """

    def __init__(self, torch: Any, tell: Callable[[str, bool], None], compilers: Set[str]) -> None:
        self._torch = torch
        self._tell = tell
        self._compilers = compilers
        self._inside = False
        self._off = False

    def begin(self) -> None:
        """From now on, until something refuses it."""
        module, autocast = self._torch.nn.Module, self._torch.amp.autocast_mode.autocast
        call, enter = module.__call__, autocast.__enter__

        def lower(model: Any, *args: Any, **kwargs: Any) -> Any:
            if self._off or self._inside or self._torch.compiler.is_compiling():
                return call(model, *args, **kwargs)
            return self._called(call, model, args, kwargs)

        def entered(context: Any) -> Any:
            if getattr(context, "_enabled", False) and not getattr(context, "_mlbroker", False):
                self.refuse("the job uses autocast already")
            return enter(context)

        module.__call__, autocast.__enter__ = lower, entered

    def refuse(self, reason: str) -> None:
        """From now on all is computed as the job has it."""
        self._off = True
        self._tell(reason, False)

    def _called(self, call: Any, model: Any, args: Any, kwargs: Any) -> Any:
        held = next(model.parameters(), None)
        if held is None:
            held = next((v for v in (*args, *kwargs.values()) if hasattr(v, "device")), None)
        if held is None:
            return call(model, *args, **kwargs)
        reason = self._why_not(held)
        if reason is not None:
            self.refuse(reason)
            return call(model, *args, **kwargs)
        context = self._torch.autocast(held.device.type, dtype=self._torch.bfloat16)
        context._mlbroker = True
        self._inside = True
        try:
            with context:
                found = call(model, *args, **kwargs)
        finally:
            self._inside = False
        if not self._off:
            self._tell("on", True)
        return self._as_float32(found)

    def _why_not(self, held: Any) -> Optional[str]:
        """`held` is a weight, or what a model without any is given."""
        torch, kind = self._torch, held.device.type
        if self._compilers:
            return "the job calls %s: what it compiled would be another" % min(self._compilers)
        if held.is_floating_point() and held.dtype != torch.float32:
            return "it computes in %s already" % str(held.dtype).replace("torch.", "")
        if kind not in ("cpu", "cuda"):
            return "it is not known on %s" % kind
        if kind == "cuda" and torch.cuda.get_device_capability(held.device) < LEAST_CAPABILITY:
            return "this GPU has no bfloat16"
        return None

    def _as_float32(self, value: Any) -> Any:
        if isinstance(value, self._torch.Tensor):
            return value.float() if value.dtype == self._torch.bfloat16 else value
        if isinstance(value, Mapping) and hasattr(value, "__setitem__"):
            for key in list(value):
                value[key] = self._as_float32(value[key])
        elif type(value) in (list, tuple):
            return type(value)(self._as_float32(part) for part in value)
        return value
