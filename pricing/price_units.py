"""Prices as whole billionths of a dollar, so that no binary fraction ever reaches a bill."""

from decimal import Decimal, InvalidOperation

NANO_PER_USD = 10**9
# No machine of the book costs more than 500 USD an hour; a price above this is a typing error.
HIGHEST_NANO_USD = 100_000 * NANO_PER_USD


def usd_from_nano(nano_usd: int) -> Decimal:
    """US dollars for whole billionths, without trailing zeros: 3060000000 is 3.06."""
    whole, rest = divmod(nano_usd, NANO_PER_USD)
    text = f"{whole}.{rest:09d}".rstrip("0").rstrip(".")
    return Decimal(text)


def nano_from_usd(price: str | float | Decimal) -> int | None:
    """Whole billionths for a price in dollars, or None when it is not an honest price.

    Zero, negative, not-a-number, infinite, absurdly high and non-numeric prices are not.
    A float is read by its shortest decimal form, which is what its writer meant.
    """
    try:
        value = Decimal(str(price).strip()) * NANO_PER_USD
    except InvalidOperation:
        return None
    if not value.is_finite() or value <= 0 or value > HIGHEST_NANO_USD:
        return None
    return int(value.to_integral_value()) or None
