"""The check as Markdown for a comment: always below the forges' limit, whatever the jobs hold."""

from collections.abc import Callable, Sequence

from mlbroker.broker.ci.changes import JobChange
from mlbroker.broker.ci.check import CostCheck, Crossing
from mlbroker.broker.ci.formats import words
from mlbroker.broker.output import inert
from mlbroker.broker.words import money
from mlbroker.policies.quote import Quote

# GitHub refuses comments of 65,536 characters; the rest is for the marker and the last lines.
LIMIT = 64_000
_HEADER = (
    "| job | a run, USD | change | a month, USD | time | CO2e, kg | machine |\n"
    "|---|--:|--:|--:|--:|--:|---|\n"
)
# What Markdown, HTML and the forges' mentions and references are made of.
_ESCAPES = {ord(character): f"&#{ord(character)};" for character in "\\`*_[]|#@~$!<>&"}
_REASONS = 12


def render(check: CostCheck) -> str:
    """Summary, crossed limits, a table of the touched jobs, and folded details of each."""
    parts = [f"### Cost of this change\n\n{safe(words.headline(check))}"]
    month = words.month_line(check)
    if month:
        parts[0] += f"\n{safe(month)}"
    if check.crossed:
        parts.append(_listed("Limits crossed", check.crossed))
    if check.unjudged:
        parts.append(_listed("Limits that could not be judged", check.unjudged))
    touched = sorted(check.touched, key=_weight)
    ending = "\n".join(
        f"<sub>{safe(text)}</sub>  "
        for text in (words.unknown_line(check), words.prices_line(check))
        if text
    )
    room = LIMIT - sum(map(len, parts)) - len(ending) - 200
    if touched:
        table, room = _fitted(touched, _row, room // 2, room, "more jobs in the log of this check")
        parts.append(_HEADER + table)
        details, room = _fitted(touched, _details, room - 200, room, "more details in the log")
        parts.append(
            f"<details><summary>Why, and on what evidence</summary>\n\n{details}\n</details>"
        )
    parts.append(ending)
    return "\n\n".join(parts) + "\n"


def safe(text: str) -> str:
    """Text that stays text: no markup, no HTML, no link, no mention of a user, one line."""
    flat = "".join(c if c.isprintable() else "\ufffd" for c in text.replace("\n", " "))
    plain = flat.translate(_ESCAPES).replace("://", "&#58;//").replace("www.", "www&#46;")
    return inert(plain, colon="&#58;")


def _fitted(
    jobs: list[JobChange], text_of: Callable[[JobChange], str], allowed: int, room: int, rest: str
) -> tuple[str, int]:
    """As many of the jobs as fit into `allowed`, and what is left of `room`."""
    shown: list[str] = []
    for number, job in enumerate(jobs):
        text = text_of(job)
        allowed -= len(text)
        if allowed < 0:
            shown.append(f"\n… and {len(jobs) - number} {rest}.\n")
            break
        shown.append(text)
    joined = "".join(shown)
    return joined, room - len(joined)


def _weight(job: JobChange) -> tuple[float, str, str]:
    """Broken and infeasible jobs first, then those whose cost changes most."""
    before = job.base and job.base.compared_usd
    after = job.head and job.head.compared_usd
    stuck = job.pair.problem is not None or (job.head is not None and after is None)
    difference = float("inf") if stuck else abs(float((after or 0) - (before or 0)))
    return -difference, job.pair.path, job.pair.name


def _listed(title: str, limits: Sequence[Crossing]) -> str:
    shown = [
        f"- `--{crossing.limit}`: **{safe(crossing.job.pair.name)}** {safe(crossing.message)}"
        for crossing in limits[:20]
    ]
    if len(limits) > 20:
        shown.append(f"- … and {len(limits) - 20} more")
    return f"**{title}**\n\n" + "\n".join(shown)


def _row(job: JobChange) -> str:
    cells = (
        f"**{safe(job.pair.name)}**<br><sub>{safe(_short(job.pair.path))}</sub>",
        safe(words.cost(job)),
        safe(words.change(job)),
        safe(words.monthly(job)),
        safe(words.time(job)),
        safe(words.carbon(job)),
        safe(words.machine(job)),
    )
    return f"| {' | '.join(cells)} |\n"


def _details(job: JobChange) -> str:
    facts = [f"**{safe(job.pair.name)}** ({safe(_short(job.pair.path))}"
             + (f", moved from {safe(_short(job.pair.previous_path))}" if job.pair.previous_path
                else "") + ")"]  # fmt: skip
    problem = job.pair.problem
    if problem is not None:
        facts.append(f"cannot be read: {safe(_short(str(problem), 400))}")
    if job.head is not None and job.head.problem:
        facts.append(safe(_short(job.head.problem, 400)))
    side = job.head or job.base
    if side is not None and side.quote is not None:
        facts.append(safe(_figures(job, side.quote)))
    facts += [safe(_short(reason, 200)) for reason in job.reasons[:_REASONS]]
    if len(job.reasons) > _REASONS:
        facts.append(f"… and {len(job.reasons) - _REASONS} more changes")
    return "- " + "\n  - ".join(facts) + "\n"


def _figures(job: JobChange, quote: Quote) -> str:
    if quote.cost_usd is None:
        return f"{quote.evidence}: {money(quote.hourly_usd)} USD an hour, disk and address included"
    return (
        f"{quote.evidence}; {words.energy(job)} kWh;"
        f" in nine runs of ten at most {money(quote.cost_usd.p90)} USD"
        + (f"; {words.chance(job)} in time" if words.chance(job) else "")
    )


def _short(text: str, longest: int = 150) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
