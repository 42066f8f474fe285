"""What each number of machines would do, under a plan that chose one."""

from collections.abc import Sequence

from mlbroker.broker.batch_words import against_words
from mlbroker.broker.output import print_line, print_table
from mlbroker.broker.words import duration, money
from mlbroker.policies.planner.node_counts import AtCount
from mlbroker.policies.quote import Quote
from mlbroker.profiles.job import Job

COLUMNS = ("nodes", "machine", "region", "time", "USD", "against the choice")


def show_counts(counts: Sequence[AtCount], job: Job) -> None:
    """The best machine for each number, and what to do about those that are not known."""
    best = next((c.plan.choice for c in counts if c.nodes == job.num_nodes and c.offers), None)
    rows = [_row(count, best) for count in counts if count.plan.known]
    if rows:
        print_table(COLUMNS, rows, right=("nodes", "time", "USD"))
    unknown = [str(count.nodes) for count in counts if not count.plan.known]
    if unknown:
        print_line(
            f"How long it takes on {', '.join(unknown)} nodes is not known: a run with `num_nodes:"
            f" {unknown[-1]}` measures it, or `mlbroker profile import`."
        )


def _row(count: AtCount, best: Quote | None) -> list[str]:
    quote = count.plan.choice
    if quote is None:
        return [str(count.nodes), "none is feasible", "", "", "", ""]
    where = [str(count.nodes), quote.instance_type, quote.region]
    if quote.duration_h is None or quote.cost_usd is None:
        return [*where, "", "", ""]
    told = [*where, duration(quote.duration_h.p50 * 3600), money(quote.cost_usd.expected)]
    if quote is best or best is None or best.duration_h is None or best.cost_usd is None:
        return [*told, "chosen" if quote is best else ""]
    dearer = (
        float(quote.cost_usd.expected / best.cost_usd.expected) if best.cost_usd.expected else 1
    )
    return [*told, against_words(best.duration_h.p50 / quote.duration_h.p50, dearer)]
