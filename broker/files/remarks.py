"""What reading a job file leaves to say: nothing that the file asks for is dropped in silence."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Remarks:
    """`ignored` names fields of no use here; `said` are sentences about how the rest was read;
    `not_run` tells what a run would have to do and cannot: it is refused before anything starts.
    """

    ignored: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
