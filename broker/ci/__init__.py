"""The price of a change, before it is merged: diff, thresholds, formats, comments."""
