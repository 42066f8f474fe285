"""Measuring a job's step time: here, on a node, on launched machines; and what comes of it.

profile, launched, auto     where to measure, and for how long it is worth it
watch, agent_link, result   following a job under measurement, and what it comes to
table, document             measurements in tables and as JSON
"""
