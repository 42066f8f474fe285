"""Measuring a job's step time: here, on a node, on launched machines; and keeping what was seen.

profile, launched, auto     where to measure, and for how long it is worth it
watch, agent_link, result   following a job under measurement, and what it comes to
store, table, document      measurements in the store, in tables and as JSON
"""
