"""What can go wrong in judging that is not a bug."""


class AnalyticsError(Exception):
    """Base of the errors of this package."""


class ProfileError(AnalyticsError):
    """A profile that cannot be used: the text lists every mistake of its file."""
