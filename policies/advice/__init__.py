"""What wastes a job's time and money, reckoned from what was measured: values in, values out.

`machines` says whether a job needs its GPU, `steps` what its steps spend on nothing, `proven` what
remedies that were tried on it save.
"""
