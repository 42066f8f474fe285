"""Replayed jobs as one HTML page that needs nothing else: what ran where, cost, and slack."""

from collections.abc import Sequence
from html import escape

from mlbroker.broker.backtest.replays import Replay
from mlbroker.policies.spot.interface import Terms
from mlbroker.policies.spot.replay import Trace

WIDTH, LEFT, RIGHT, ROW, CURVE = 900, 110, 62, 24, 130

STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --soft: #66758a; --line: #d4dbe4;
  --paper: #fff; --up: #e3e9f0; --spot: #1b8a5a; --demand: #c2611f; --cost: #2f6fb7;
  --slack: #8a5fb0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf1; --soft: #97a4b5; --line: #344050;
  --paper: #141a21; --up: #2a3441; --spot: #4cc38a; --demand: #e8924f; --cost: #6ea8e5;
  --slack: #b795da; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 940px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 1.6rem; }
svg { width: 100%; height: auto; } text { fill: var(--soft); font-size: 12px; }
.axis { stroke: var(--line); } .up { fill: var(--up); } .spot { fill: var(--spot); }
.demand { fill: var(--demand); } polyline { fill: none; stroke-width: 2; }
.cost { stroke: var(--cost); } .slack { stroke: var(--slack); }
text.cost { fill: var(--cost); stroke: none; } text.slack { fill: var(--slack); stroke: none; }
"""


def page(trace: Trace, terms: Terms, replays: Sequence[Replay]) -> str:
    """One panel for each replay."""
    title = f"{terms.work_h:g} h of work by a deadline of {terms.deadline_h:g} h"
    panels = "".join(_panel(trace, terms, each) for each in replays)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>Grey: spot could be had. Green: the job was there, or booted. "
        "Orange: on demand. Below: what was spent, and the slack that was left.</p>"
        f"{panels}</body></html>\n"
    )


def _panel(trace: Trace, terms: Terms, replay: Replay) -> str:
    told = replay.result
    rows = [*trace.zones, "on demand"]
    top = len(rows) * ROW + 8
    height = top + CURVE + 36

    def x(hours: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(hours / terms.deadline_h, 1.0)

    def bar(kind: str, row: int, begin_h: float, end_h: float, words: str) -> str:
        wide = max(x(end_h) - x(begin_h), 0.6)
        return (
            f'<rect class="{kind}" x="{x(begin_h):.1f}" y="{row * ROW + 4}" width="{wide:.1f}" '
            f'height="{ROW - 8}"><title>{escape(words)}</title></rect>'
        )

    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{replay.policy}">']
    parts += [_text("", LEFT - 8, row * ROW + 16, name, "end") for row, name in enumerate(rows)]
    ticks = int(terms.deadline_h / trace.tick_h)
    for zone in range(len(trace.zones)):
        up = trace.up[replay.start : replay.start + ticks, zone]
        parts += [
            bar("up", zone, begin * trace.tick_h, end * trace.tick_h, "spot could be had")
            for begin, end in _spans(up.tolist())
        ]
    for stretch in told.stretches:
        kind, row = ("spot", stretch.place) if stretch.place >= 0 else ("demand", len(rows) - 1)
        words = f"{rows[row]}: {stretch.begin_h:.2f} h to {stretch.end_h:.2f} h"
        parts.append(bar(kind, row, stretch.begin_h, stretch.end_h, words))
    bottom = top + CURVE
    most_usd = max(told.cost_usd, 1e-9)
    most_h = max(1e-9, *(moment.slack_h for moment in told.moments))
    for kind, points in (
        ("cost", [(m.at_h, m.spent_usd / most_usd) for m in told.moments]),
        ("slack", [(m.at_h, max(m.slack_h, 0) / most_h) for m in told.moments]),
    ):
        drawn = " ".join(f"{x(at):.1f},{bottom - (CURVE - 14) * share:.1f}" for at, share in points)
        parts.append(f'<polyline class="{kind}" points="{drawn}"/>')
    parts += [
        f'<line class="axis" x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}"/>',
        _text("cost", LEFT - 8, top + 18, f"{told.cost_usd:.2f} USD", "end"),
        _text("slack", WIDTH - RIGHT + 6, top + 18, f"{most_h:.2g} h", "start"),
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        hours = share * terms.deadline_h
        parts.append(_text("", x(hours), bottom + 18, f"{hours:.3g} h", "middle"))
    done = "not done" if told.finished_h is None else f"done after {told.finished_h:.2f} h"
    words = (
        f"{replay.policy}: {told.cost_usd:.2f} USD, {told.cost_usd / replay.least_usd:.2f} times "
        f"the least possible, {done}, {told.restarts} restarts"
    )
    return f"<h2>{escape(words)}</h2>{''.join(parts)}</svg>"


def _spans(up: Sequence[bool]) -> list[tuple[int, int]]:
    """Where it is true: first tick, and the one after the last."""
    edges = [at for at in range(len(up) + 1) if _at(up, at) != _at(up, at - 1)]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _at(up: Sequence[bool], at: int) -> bool:
    return 0 <= at < len(up) and up[at]


def _text(kind: str, x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
