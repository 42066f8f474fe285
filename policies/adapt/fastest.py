"""As auto, with time alone in mind: what it costs is no matter."""

from mlbroker.policies.adapt.by_belief import ByBelief


class Fastest(ByBelief):
    """The least time left."""

    minds_price = False
