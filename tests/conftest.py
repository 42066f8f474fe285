"""What holds for every test."""

from hypothesis import HealthCheck, settings

# A property is right or wrong; how long an example takes says how busy the machine is.
settings.register_profile("mlbroker", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mlbroker")
