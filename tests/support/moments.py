"""Fixed moments, so that nothing depends on the day the tests run."""

from datetime import UTC, datetime

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
