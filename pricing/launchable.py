"""Machines that are sold, but that a run of mlbroker could not use as they are: and why.

A plan leaves them out, so that nobody is told a price for what would be refused, or would bill
without doing the job. An image of the user's own may serve what none of the vendor's does.
"""

from typing import NamedTuple


class Launch(NamedTuple):
    """How a type would be asked for: as a spot machine, and with an image of the user's own."""

    spot: bool
    own_image: bool
