"""Which of several counts is believed, and where the total comes from."""

from mlbroker.profiles.stepping.stream import MAX_EVENTS, Event, StepStreams


def events(
    source: str, n: int, *, start: float = 0.0, every: float = 1.0, total: int = 0, pid: int = 1
) -> list[Event]:
    return [(source, pid, start + i * every, i, total, 0.0) for i in range(n + 1)]


def test_what_the_user_said_wins_over_libraries_and_they_over_bars() -> None:
    streams = StepStreams()
    streams.add(events("tqdm@a.py:1", 50, total=50))
    assert streams.best(None).source == "tqdm@a.py:1"  # type: ignore[union-attr]
    streams.add(events("torch", 20))
    assert streams.best(None).source == "torch"  # type: ignore[union-attr]
    streams.add(events("marker", 5))
    assert streams.best(None).source == "marker"  # type: ignore[union-attr]
    assert streams.sources == ["marker", "torch", "tqdm@a.py:1"]


def test_a_bar_is_preparation_while_a_loaded_library_is_silent_but_not_for_ever() -> None:
    streams = StepStreams()
    streams.note("torch", 1, "library", "torch")
    streams.add(events("tqdm@a.py:1", 10, total=1000))
    assert streams.best(None) is None
    assert streams.best(1000) is not None
    assert streams.best(None, final=True) is not None
    streams.add(events("tqdm@a.py:1", 40, total=1000)[11:])
    assert streams.best(None) is not None


def test_the_process_with_the_most_steps_speaks_for_all() -> None:
    streams = StepStreams()
    streams.add(events("torch", 10, pid=1) + events("torch", 30, pid=2))
    series = streams.best(None)
    assert series is not None
    assert series.counts[-1] == 30


def test_a_later_bar_is_the_training_and_an_inner_one_has_the_steps() -> None:
    streams = StepStreams()
    streams.add(events("tqdm@prepare", 20, every=0.1, total=20))
    streams.add(events("tqdm@epochs", 1, start=3, every=10, total=3))
    streams.note("tqdm@batches", 1, "parent", "tqdm@epochs")
    streams.add(events("tqdm@batches", 10, start=3, total=30))
    series = streams.best(None)
    assert series is not None
    assert (series.source, series.total) == ("tqdm@batches", 30)


def test_the_optimizer_takes_the_total_of_the_bar_that_moves_with_it() -> None:
    streams = StepStreams()
    streams.add(events("tqdm@x", 40, every=1.0, total=400))
    streams.add(events("torch", 10, start=1.0, every=4.0))
    series = streams.best(None)
    assert series is not None
    assert (series.source, series.total) == ("torch", 100)


def test_a_total_that_was_passed_is_none() -> None:
    streams = StepStreams()
    streams.add(events("steps", 20, total=10))
    series = streams.best(None)
    assert series is not None
    assert series.total is None
    assert streams.best(500).total == 500  # type: ignore[union-attr]


def test_long_streams_are_thinned_and_keep_their_ends() -> None:
    streams = StepStreams()
    n = MAX_EVENTS + 5000
    streams.add(events("steps", n, every=0.001))
    series = streams.best(None)
    assert series is not None
    assert len(series.counts) <= MAX_EVENTS
    assert (series.counts[0], series.counts[-1]) == (0, n)


def test_times_and_counts_only_grow() -> None:
    streams = StepStreams()
    streams.add([("steps", 1, t, c, 0, 0.0) for t, c in [(1, 1), (2, 2), (1.5, 3), (3, 2), (4, 4)]])
    series = streams.best(None)
    assert series is not None
    assert (list(series.times_s), list(series.counts)) == ([1, 2, 4], [1, 2, 4])
