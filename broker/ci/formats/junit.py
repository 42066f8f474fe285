"""The check as JUnit XML: a test case for each job, a failure for each crossed limit."""

from xml.sax.saxutils import escape, quoteattr

from mlbroker.broker.ci.changes import Line
from mlbroker.broker.ci.check import Check
from mlbroker.broker.ci.formats import words


def render(check: Check) -> str:
    """One suite; jobs that cannot be read are errors, jobs that no machine can do are failures."""
    cases: list[str] = []
    for line in check.touched:
        cases += _cases(check, line)
    failures = sum("<failure" in case for case in cases)
    errors = sum("<error" in case for case in cases)
    stamp = check.generated_at.isoformat(timespec="seconds")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites>\n<testsuite name="mlbroker check" tests="{len(cases)}"'
        f' failures="{failures}" errors="{errors}" skipped="0" timestamp={quoteattr(stamp)}>\n'
        + "".join(cases)
        + "</testsuite>\n</testsuites>\n"
    )


def _cases(check: Check, line: Line) -> list[str]:
    mine = [crossing for crossing in check.crossed if crossing.line is line]
    if line.pair.problem is not None:
        return [_case(line, "readable", "error", str(line.pair.problem))]
    if line.head is not None and line.head.problem:
        return [_case(line, "feasible", "failure", line.head.problem)]
    if mine:
        return [_case(line, crossing.limit, "failure", crossing.message) for crossing in mine]
    return [_case(line, "cost", None, f"{words.cost(line)} USD a run ({words.change(line)})")]


def _case(line: Line, what: str, element: str | None, text: str) -> str:
    name = quoteattr(_xml(f"{line.pair.name}: {what}"))
    path = quoteattr(_xml(line.pair.path))
    head = f"<testcase classname={path} name={name} file={path}>"
    if element is None:
        return f"{head}<system-out>{escape(_xml(text))}</system-out></testcase>\n"
    message = quoteattr(_xml(text.partition("\n")[0]))
    body = escape(_xml("\n".join([text, *line.reasons])))
    return f'{head}<{element} type="{what}" message={message}>{body}</{element}></testcase>\n'


def _xml(text: str) -> str:
    """`text` without the characters that XML cannot hold."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
