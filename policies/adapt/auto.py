"""Machines and batch by expected all-in cost: probe while it pays, move where it saves."""

from mlbroker.policies.adapt.by_belief import ByBelief


class Auto(ByBelief):
    """Everything is allowed, and every cent counts."""
