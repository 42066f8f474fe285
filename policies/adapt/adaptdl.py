"""AdaptDL's rule: the batch of most goodput, and as many GPUs as are still used well.

Imports numpy: import it inside functions.
"""

import numpy as np

from mlbroker.policies.adapt.by_belief import first_look, may_move
from mlbroker.policies.adapt.forecast import Forecast
from mlbroker.policies.adapt.interface import Probe, Run, View

# A cluster grows or shrinks once speed-up over GPUs leaves this band, to what is nearest its
# middle (Pollux, OSDI 2021, section 4.2; the bounds are those of AdaptDL's policy).
_LEAST, _MOST = 0.35, 0.65


class AdaptDl:
    """GPUs of one type, that of the cheapest machine; prices and deadlines mean nothing to it."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def decide(self, view: View) -> Probe | Run:
        """The same rule at the start and at the end of epochs."""
        terms = view.terms
        if view.on is not None and not may_move(view):
            return Run(view.on)
        if not view.measured:
            return first_look(terms)
        gpu = terms.machines[first_look(terms).machines].layout.gpu
        left_s = np.median(Forecast(view, self._seed).left_s, axis=0)
        fastest: dict[int, int] = {}
        for number, one in enumerate(terms.candidates):
            layout = terms.machines[one.machines].layout
            before = fastest.get(layout.gpus)
            if layout.gpu == gpu and (before is None or left_s[number] < left_s[before]):
                fastest[layout.gpus] = number
        used = {
            number: float(left_s[fastest[1]] / left_s[number]) / gpus
            for gpus, number in fastest.items()
        }
        if view.on in used and _LEAST <= used[view.on] <= _MOST:
            return Run(view.on)
        middle = (_LEAST + _MOST) / 2
        return Run(min(used, key=lambda number: abs(used[number] - middle)))
