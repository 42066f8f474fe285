"""Studies of many trials: what proposes the next, from libraries or from the past."""
