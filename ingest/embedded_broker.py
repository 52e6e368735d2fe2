"""The only importer of iotcore: a broker in memory, as a child process that ends with its parent."""

from pathlib import Path

import structlog
from iotcore import Broker

from ingest.errors import BrokerError

_log = structlog.get_logger()


class EmbeddedBroker:
    """iotcore's broker with a configuration file of ours; it listens when the constructor returns."""

    def __init__(self, configuration: Path) -> None:
        self._broker = Broker(config_path=str(configuration))
        try:
            self._broker.start()
        except (OSError, RuntimeError) as error:
            raise BrokerError(f"the embedded broker does not start: {error}") from error

    def exit_code(self) -> int | None:
        """None while it runs; iotcore does not tell its code, so 1 once it has ended."""
        return None if self._broker.is_running else 1

    def reload(self) -> None:
        """It cannot: what changed holds from its next start."""
        _log.warning("the embedded broker reads credentials only at its start: restart it")

    def stop(self) -> None:
        """End it; its memory goes with it."""
        self._broker.stop()
