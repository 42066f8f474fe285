"""Whether a service is asked for out of all measure more than usual.

A surge begins where ten minutes bring several times as many requests as usual, and more than any
ten minutes of the last week did; it ends after an hour that is near the usual again.
"""

from collections import deque

from mlbroker.policies.service.usual import DAY_H, DAYS, HOUR_S, Usual

WINDOW_S = 600.0
BEGINS = 3.0  # times the usual requests
BEGINS_PEAK = 1.3  # times the most of any window in the last week
ENDS = 1.5
# Before a whole day is known, no hour is known as usual.
NEW_PEAK = 5.0


class SurgeWatch:
    """Tells when a surge began, from requests a second."""

    def __init__(self) -> None:
        self._usual = Usual()
        self._window: deque[tuple[float, float]] = deque()  # span, requests
        self._in_window = self._window_s = 0.0
        self._peaks: deque[float] = deque(maxlen=DAY_H * DAYS)
        self._hour: int | None = None
        self._peak = 0.0
        self._calm_s = 0.0
        self.since_s: float | None = None

    def look(self, now_s: float, requests_per_s: float, span_s: float) -> None:
        """The requests of the `span_s` before `now_s`."""
        self._slide(requests_per_s, span_s)
        rate = self._in_window / self._window_s
        hour = int(now_s // HOUR_S)
        usual = self._usual.at(hour)
        if self.since_s is None:
            if usual is not None and self._begins(rate, usual):
                self.since_s, self._calm_s = now_s - span_s, 0.0
        elif usual is not None:
            self._calm_s = self._calm_s + span_s if rate < ENDS * usual else 0.0
            if self._calm_s >= HOUR_S:
                self.since_s = None
        if self.since_s is None:
            self._note_peak(hour, rate)
        self._usual.add(now_s, requests_per_s, span_s, surge=self.since_s is not None)

    def _begins(self, rate: float, usual: float) -> bool:
        if rate <= BEGINS * usual or not self._peaks:
            return False
        above = BEGINS_PEAK if self._usual.days >= 1 else NEW_PEAK
        return rate > above * max(self._peaks)

    def _slide(self, requests_per_s: float, span_s: float) -> None:
        self._window.append((span_s, requests_per_s * span_s))
        self._in_window += requests_per_s * span_s
        self._window_s += span_s
        while self._window_s - self._window[0][0] >= WINDOW_S:
            span, requests = self._window.popleft()
            self._window_s -= span
            self._in_window -= requests

    def _note_peak(self, hour: int, rate: float) -> None:
        """The most of an hour counts once it is over: else a surge would hide behind its rise."""
        if hour != self._hour:
            if self._hour is not None:
                self._peaks.append(self._peak)
            self._hour, self._peak = hour, 0.0
        self._peak = max(self._peak, rate)
