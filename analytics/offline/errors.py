"""What can be wrong with the files or the wishes of somebody who judges from files."""

from analytics.errors import AnalyticsError


class OfflineError(AnalyticsError):
    """A file that cannot be read or written, or that would ask for too much; says what to do."""


class NoRowError(OfflineError):
    """Of a file's rows none can be judged."""
