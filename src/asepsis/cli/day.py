"""Days on the command line."""

import time
from datetime import UTC, date, datetime

from asepsis.core.errors import ConfigError


def read_day(text: str | None) -> date:
    """Return the day that a person wrote as YYYY-MM-DD, or today in UTC.

    Raises:
        ConfigError: Not a day.
    """
    if text is None:
        return datetime.fromtimestamp(time.time(), UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"not a day: {text}", hint="write it as 2026-11-22") from error
