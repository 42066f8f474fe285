"""A plan's quotes as offers that a probe could be made on."""

from collections.abc import Iterable, Sequence

from mlbroker.policies.quote import Quote
from mlbroker.pricing.offer import Hardware, InstanceType
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.prediction import Target
from mlbroker.profiles.probe_advice import Offered


def offers_of(quotes: Sequence[Quote], kinds: Iterable[InstanceType]) -> list[Offered]:
    """One for each quote, in their order."""
    hardware: dict[tuple[str, str], Hardware] = {
        (kind.cloud, kind.name): kind.hardware for kind in kinds
    }
    return [
        Offered(
            Target(
                quote.cloud,
                quote.instance_type,
                hardware[quote.cloud, quote.instance_type],
                quote.nodes,
            ),
            float(quote.price_per_hour_usd) * quote.nodes,
            vendor(quote.cloud).setup_s,
        )
        for quote in quotes
    ]
