"""A listener that keeps what services say."""

from dataclasses import dataclass, field

from mlbroker.broker.measure.watch import Observation


@dataclass
class Heard:
    """What was noted, what was warned of, and the places a measurement was seen at."""

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def seen(self, now: Observation, place: str = "") -> None:
        self.places.append(place)
