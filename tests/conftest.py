"""Property tests are the same in every run, and wait for a busy machine."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("colonnade", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("colonnade")
