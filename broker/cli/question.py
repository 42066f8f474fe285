"""What is said before money is spent: on which machine, what is expected, and how sure that is."""

from mlbroker.broker.output import say
from mlbroker.broker.plan_words import expected_words
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.broker.words import exact_usd
from mlbroker.policies.quote import Quote


def say_expected(job: str, option: LaunchOption, quote: Quote) -> None:
    """Of the whole job there, whether it is to be run or only measured."""
    most = option.max_price_per_hour_usd
    say(
        f"{job}: {option.nodes} x {option.instance_type} ({option.cloud}, {option.region}, "
        f"{option.market}) at {exact_usd(option.price_per_hour_usd)} USD/h each"
        + ("" if most is None else f", {exact_usd(most)} at most")
    )
    say(expected_words(quote))
