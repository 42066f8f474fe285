"""The check as JUnit XML: a test case for each job, a failure for each crossed limit."""

from xml.sax.saxutils import escape, quoteattr

from mlbroker.broker.ci.changes import JobChange
from mlbroker.broker.ci.check import CostCheck
from mlbroker.broker.ci.formats import words
from mlbroker.broker.output import inert


def render(check: CostCheck) -> str:
    """One suite; jobs that cannot be read are errors, jobs that no machine can do are failures."""
    cases: list[str] = []
    for job in check.touched:
        cases += _cases(check, job)
    failures = sum("<failure" in case for case in cases)
    errors = sum("<error" in case for case in cases)
    skipped = sum("<skipped" in case for case in cases)
    stamp = check.generated_at.isoformat(timespec="seconds")
    return inert(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites>\n<testsuite name="mlbroker check" tests="{len(cases)}"'
        f' failures="{failures}" errors="{errors}" skipped="{skipped}"'
        f" timestamp={quoteattr(stamp)}>\n" + "".join(cases) + "</testsuite>\n</testsuites>\n",
        colon="&#58;",
        sharp="&#35;",
    )


def _cases(check: CostCheck, job: JobChange) -> list[str]:
    mine = [crossing for crossing in check.crossed if crossing.job is job]
    if job.pair.problem is not None:
        return [_case(job, "readable", "error", str(job.pair.problem))]
    if job.head is not None and job.head.problem:
        return [_case(job, "feasible", "failure", job.head.problem)]
    open_ = [limit for limit in check.unjudged if limit.job is job]
    if mine or open_:
        return [_case(job, crossing.limit, "failure", crossing.message) for crossing in mine] + [
            _case(job, limit.limit, "skipped", limit.message) for limit in open_
        ]
    return [_case(job, "cost", None, f"{words.cost_told(job)} ({words.change(job)})")]


def _case(job: JobChange, what: str, element: str | None, text: str) -> str:
    name = quoteattr(_xml(f"{job.pair.name}: {what}"))
    path = quoteattr(_xml(job.pair.path))
    head = f"<testcase classname={path} name={name} file={path}>"
    if element is None:
        return f"{head}<system-out>{escape(_xml(text))}</system-out></testcase>\n"
    message = quoteattr(_xml(text.partition("\n")[0]))
    body = escape(_xml("\n".join([text, *job.reasons])))
    return f'{head}<{element} type="{what}" message={message}>{body}</{element}></testcase>\n'


def _xml(text: str) -> str:
    """`text` without the characters that XML cannot hold."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
