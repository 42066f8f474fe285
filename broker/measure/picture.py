"""A measurement as one HTML page that needs nothing else: steps, warm-up, periods, estimate."""

from collections.abc import Callable
from html import escape

from mlbroker.broker.measure.document import measurement_document
from mlbroker.broker.measure.watch import Observation
from mlbroker.broker.words import count, figure, span
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.stepping.steady import Estimate
from mlbroker.profiles.stepping.stream import StepSeries

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 900, 340, 70, 40, 14
Scale = Callable[[float], float]
MAX_POINTS = 2500
# Steps beyond this many medians are drawn at the upper edge, so that the others can be seen.
EDGE_MEDIANS = 6.0

STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --soft: #66758a; --line: #d4dbe4;
  --paper: #fff; --dot: #2f6fb7; --warm: #e8a33d33; --mean: #1b8a5a; --period: #b03a6f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf1; --soft: #97a4b5; --line: #344050;
  --paper: #141a21; --dot: #6ea8e5; --mean: #4cc38a; --period: #e07aa8; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 940px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } svg { width: 100%; height: auto; } text { fill: var(--soft);
  font-size: 12px; } .axis { stroke: var(--line); } .dot { fill: var(--dot); opacity: .55; }
.edge { fill: none; stroke: var(--dot); } .warm { fill: var(--warm); }
.mean { stroke: var(--mean); stroke-width: 2; } .band { fill: var(--mean); opacity: .18; }
.period { stroke: var(--period); stroke-dasharray: 3 3; opacity: .7; }
table { border-collapse: collapse; } td { padding: .15rem 1.2rem .15rem 0; vertical-align: top; }
td:first-child { color: var(--soft); }
"""


def page(row: Measurement, seen: Observation, job: Job | None = None) -> str:
    """The page; without a single step it says so. `job` says how many steps the whole has."""
    title = f"{row.job} on {row.config}"
    body = "<p>No step was counted.</p>"
    if seen.series is not None and seen.estimate is not None:
        body = _chart(seen.series, seen.estimate)
    facts = _summary(row, seen, job) + sorted(row.extra.items())
    rows = "".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in facts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1>{body}<table>{rows}</table></body></html>\n"
    )


def _summary(row: Measurement, seen: Observation, job: Job | None) -> list[tuple[str, str]]:
    facts = [("status", row.reason or str(row.status))]
    found = seen.estimate
    if found is None:
        return facts
    facts.append(("mean step", f"{figure(found.step_time_s)} s ± {found.half_width:.1%} (95 %)"))
    told = measurement_document(row, job)
    if told["steps"] is not None and told["duration_s"] is not None:
        low, middle, high = (span(told["duration_s"][q]) for q in ("p10", "p50", "p90"))
        steps = count(told["steps"], "step")
        facts.append(("whole job", f"{middle} (80 %: {low} to {high}), {steps}"))
    facts.append(("stopped because", seen.stopped or "the job ended, or a cap was reached"))
    facts += [
        ("periodic", f"every {p.every} steps {p.extra_s:.4g} s more (seen {count(p.seen, 'time')})")
        for p in found.periods
    ]
    return facts


def _chart(series: StepSeries, found: Estimate) -> str:
    durations, places = _per_step(series)
    usual = sorted(durations)[len(durations) // 2]
    top = min(max(durations), EDGE_MEDIANS * usual) * 1.05
    first, last = series.counts[0], series.counts[-1]

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - 10) * (step - first) / max(last - first, 1)

    def y(seconds: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * min(seconds / top, 1.0)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="time of each step">']
    if found.warmup_steps > 0:
        width = x(first + found.warmup_steps) - x(first)
        parts.append(_box("warm", x(first), TOP, width, HEIGHT - BOTTOM - TOP, "warm-up"))
    for period in found.periods:
        start = (
            period.first
            if period.first > first
            else period.first + period.every * (1 + (first - period.first) // period.every)
        )
        marks = range(start, last + 1, period.every)
        parts += [_line("period", x(m), TOP, x(m), HEIGHT - BOTTOM) for m in marks[:200]]
    for step, seconds in zip(places, durations, strict=True):
        kind = "dot" if seconds <= top else "edge"
        parts.append(f'<circle class="{kind}" cx="{x(step):.1f}" cy="{y(seconds):.1f}" r="2"/>')
    mean, half = found.step_time_s, found.step_time_s * found.half_width
    band = y(mean - half) - y(mean + half)
    parts.append(_box("band", LEFT, y(mean + half), WIDTH - LEFT - 10, band, "95 % interval"))
    parts.append(_line("mean", LEFT, y(mean), WIDTH - 10, y(mean)))
    parts += _axes(x, y, first, last, top)
    return "".join(parts) + "</svg>" + _legend(found)


def _legend(found: Estimate) -> str:
    """What the colours are."""
    kinds = ["a dot for each step", "green: the mean over the whole run, and its 95 % interval"]
    if found.warmup_steps > 0:
        kinds.append("yellow: the likeliest warm-up")
    if found.periods:
        kinds.append("dashed: work that comes back")
    return f"<p>{'; '.join(kinds)}.</p>"


def _per_step(series: StepSeries) -> tuple[list[float], list[int]]:
    stride = -(-len(series.counts) // MAX_POINTS)
    times, counts = series.times_s[::stride], series.counts[::stride]
    durations = [
        (t2 - t1) / (c2 - c1)
        for t1, t2, c1, c2 in zip(times, times[1:], counts, counts[1:], strict=False)
    ]
    return durations, list(counts[1:])


def _axes(x: Scale, y: Scale, first: int, last: int, top: float) -> list[str]:
    parts = [
        _line("axis", LEFT, HEIGHT - BOTTOM, WIDTH - 10, HEIGHT - BOTTOM),
        _line("axis", LEFT, TOP, LEFT, HEIGHT - BOTTOM),
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        step, seconds = first + share * (last - first), share * top / 1.05
        parts.append(_text(x(step), HEIGHT - BOTTOM + 18, f"{step:,.0f}", "middle"))
        parts.append(_text(LEFT - 8, y(seconds) + 4, f"{seconds:.3g} s", "end"))
    parts.append(_text(WIDTH - 10, HEIGHT - 4, "step", "end"))
    return parts


def _box(kind: str, x: float, y: float, width: float, height: float, title: str) -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" '
        f'height="{max(height, 0):.1f}"><title>{title}</title></rect>'
    )


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
