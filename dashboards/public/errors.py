"""One shape for every failure that a client sees."""


class PublicError(Exception):
    """A failure with its HTTP status, a stable code, and a sentence that says what to do."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
