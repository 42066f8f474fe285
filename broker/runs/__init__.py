"""A run, from its reservation to its settlement, whoever dies on the way.

launch_options, zones, order    where it may run, and what it is to do: on disk before anything
launch, driver, reconcile       reserve, carry on step by step, make cloud and ledger agree
watch, forecast, view           what the guest reports, where it is heading, who is told
"""
