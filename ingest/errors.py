"""What can go wrong in ingest, apart from the store's own errors (`ingest.store.ports`)."""


class IngestError(Exception):
    """Base of ingest's errors."""


class BrokerError(IngestError):
    """The broker cannot be configured or kept running; says what to do."""


class PortTakenError(BrokerError):
    """Another program listens on the broker's port; names it as far as this user may know."""


class PkiError(IngestError):
    """Certificates cannot be made or read; says what to do."""


class RegistryUnusableError(IngestError):
    """There is no registry in force: the file is absent or faulty, and the store remembers none."""


class JournalError(IngestError):
    """The journal cannot be used as it is: a person has to look at it."""


class JournalUnavailableError(JournalError):
    """The journal cannot be written now: disk full, locked. The same call may succeed later."""
