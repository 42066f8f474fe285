"""A file of another tool on its way into a job file: what is carried over, and what is left."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple, Self

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.env_flags import VARIABLE
from mlbroker.broker.files.yaml_fields import Fields, nearest_hint
from mlbroker.broker.files.yaml_strict import Node, quoted
from mlbroker.pricing.gpu_names import GPU_MODELS, gpu_model, unsold_model

# As a job file asks for any GPU at all: by a memory that each of them has.
ANY_GPU = "1GB+"
# Why some of what most tools have is left.
NO_CONTAINER = (
    "mlbroker starts jobs on plain machines: install what it holds in `setup`, and name the folder"
    " of its code as `workdir`"
)
NO_VOLUMES = "mlbroker attaches no volumes: fetch what is read in `setup`"


class Note(NamedTuple):
    """A line of the file, and what became of it."""

    line: int
    text: str


@dataclass(slots=True)
class Carrying:
    """The job file in the making, and a note of all that is not in it as it was.

    `gpu` is the model that the user names for files that name none.
    `workdir` starts at the folder of the file that is read, or with `workdir_here` at that of the
    job file.
    """

    source: str
    gpu: str | None = None
    name: str | None = None
    nodes: int = 1
    workdir: str | None = None
    workdir_here: bool = False
    command: str | None = None
    envs: dict[str, str | None] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    resources: dict[str, Any] = field(default_factory=dict)
    broker: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    gpu_was_used: bool = False

    def fail(self, line: int, what: str, hint: str | None = None) -> InputError:
        """The error for a line that nobody could read."""
        return InputError(what, where=f"{self.source}:{line}", hint=hint)

    def say(self, line: int, text: str) -> None:
        """How a line was read, where that is not plain."""
        self.notes.append(Note(line, text))

    def leave(self, line: int, what: str, why: str | None = None) -> None:
        """What is not carried over."""
        self.notes.append(Note(line, f"{what}: not carried over{f': {why}' if why else ''}"))

    def job_name(self, line: int, text: str) -> None:
        """The name, as far as it can be a job's."""
        self.name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:100] or None
        if self.name != text:
            self.say(line, f"the name {quoted(text)} became {quoted(self.name or 'the file`s')}")

    def variable(
        self, line: int, name: str, value: str | None = None, *, secret: bool = False
    ) -> None:
        """A variable of the job's environment; without a value it is read from the user's own."""
        if VARIABLE.fullmatch(name) is None:
            raise self.fail(line, f"{quoted(name)} is not the name of an environment variable")
        if secret:
            self.secrets.append(name)
        else:
            self.envs[name] = value

    def deadline(self, line: int, what: str, seconds: int) -> None:
        """A limit of time, which is the deadline here."""
        self.broker["deadline"] = duration(seconds)
        self.say(line, f"{what} is the deadline: {duration(seconds)}, the machine's start included")

    def accelerators(
        self, line: int, what: str, names: Iterable[str], count: int, memory: str = ANY_GPU
    ) -> None:
        """`count` GPUs on each machine, of any of the models named; without, of so much memory."""
        models = []
        for name in names:
            model = gpu_model(name) or unsold_model(name)
            if model is None:
                near = nearest_hint(name, GPU_MODELS, "--gpu MODEL says which it is")
                self.leave(line, f"{what} {quoted(name)}", f"no GPU is known by that name ({near})")
            else:
                models.append(model)
                size = model.rpartition("-")[2]
                if "GB" in size and size.removesuffix("GB") not in name:
                    self.say(line, f"{what}: {quoted(name)} was taken as {model}")
        if self.gpu is not None:
            if models:
                what = f"has no effect: {self.source}:{line} names {', '.join(models)}"
                raise InputError(what, where="--gpu")
            models, self.gpu_was_used = [self.gpu], True
        elif not models and memory == ANY_GPU:
            self.say(line, f"{what}: names no model, so any GPU will do: --gpu MODEL names one")
        found = [f"{model}:{count}" for model in dict.fromkeys(models or [memory])]
        self.resources["accelerators"] = found[0] if len(found) == 1 else found

    def stand_ins(self, table: Mapping[str, str]) -> None:
        """Set the tool's variables that the command uses to what they are here."""
        command = self.command or ""
        used = [name for name in table if re.search(rf"\b{name}\b", command)]
        exports = "".join(f"export {name}={table[name]}\n" for name in used)
        self.command = exports + command

    def check_gpu(self) -> None:
        """A model for a file that asks for no GPU changes nothing, and that is said."""
        if self.gpu is not None and not self.gpu_was_used:
            raise InputError(f"has no effect: {self.source} asks for no GPU", where="--gpu")


class Keys(Fields):
    """A mapping that knows which of its keys were asked for: the others are left."""

    def __init__(self, node: Node, path: str, source: str) -> None:
        super().__init__(node, path, source)
        self._asked: set[str] = set()
        self._inner: list[Keys] = []

    def node(self, key: str) -> Node | None:
        """The value, which counts as read from now on."""
        self._asked.add(key)
        return super().node(key)

    def section(self, key: str) -> Self | None:
        """The mapping under `key`, whose own keys count one by one."""
        inner = super().section(key)
        if inner is not None:
            self._inner.append(inner)
        return inner

    def items(self, key: str, most: int) -> list[Self]:
        """The mappings of the list under `key`, likewise."""
        inner = super().items(key, most)
        self._inner += inner
        return inner

    def peek(self, *path: str) -> Node | None:
        """What stands at a path, without having read it."""
        node: Node | None = super().node(path[0])
        for key in path[1:]:
            node = (node.fields or {}).get(key, (0, None))[1] if node is not None else None
        return node

    def item(self, key: str, node: Node) -> Self:
        """One mapping of the list under `key`, whose own keys count; the rest of it is read."""
        self.node(key)
        inner = type(self)(node, self.name_of(key), self.source)
        self._inner.append(inner)
        return inner

    def empty(self, key: str) -> Self:
        """A mapping in place of one that is not there."""
        node = Node(self.line())
        node.fields = {}
        return type(self)(node, self.name_of(key), self.source)

    def texts(self, key: str) -> list[str]:
        """A single value, or the single values of a list."""
        node = self.node(key)
        if node is None:
            return []
        found = [node.text] if node.items is None else [item.text for item in node.items]
        texts = [text for text in found if text is not None]
        if len(texts) < len(found):
            self.fail(key, "must be a single value, or a list of them")
        return texts

    def unread(self) -> Iterator[tuple[int, str]]:
        """Line and path of each key that nobody asked for."""
        for key in self:
            if key not in self._asked:
                yield self.line(key), self.name_of(key)
        for inner in self._inner:
            yield from inner.unread()


def leave_the_rest(keys: Keys, carrying: Carrying, reasons: Mapping[str, str]) -> None:
    """Name every key that was not read, with the reason for those that are known."""
    for line, path in keys.unread():
        name = path.rsplit(".", 1)[-1]
        carrying.leave(line, path, reasons.get(path) or reasons.get(name))


def duration(seconds: int) -> str:
    """`1d12h30m`, as a job file says it."""
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= length:
            parts.append(f"{seconds // length}{unit}")
            seconds %= length
    return "".join(parts)


def plain(number: Decimal | float) -> str:
    """A number as a job file takes it, to a thousandth."""
    return f"{Decimal(str(number)).quantize(Decimal('0.001')).normalize():f}"
