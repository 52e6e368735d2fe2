"""The shell: opens log and store, starts the followers, serves until told to stop."""

import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import structlog
import uvicorn

from dashboards.public.app import create_app
from dashboards.public.board import Freshness, PublicBoard
from dashboards.public.followers import LogFollower, StateFollower
from dashboards.public.publication_log import PublicationLog
from dashboards.public.site import Site
from gateway.contract.registry import Registry
from gateway.contract.registry_file import parse_registry
from gateway.contract.times import Clock
from ingest.store.opening import open_store

_log = structlog.get_logger()


class _RegistryFile:
    """The registry's file, read again when it changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None

    def changed(self) -> Registry | None:
        """The registry if its file changed since the last call; RegistryError if it has mistakes."""
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size)
            if seen == self._seen:
                return None
            text = self._path.read_text(encoding="utf-8")
        except OSError as error:
            _log.warning("the registry cannot be read; the old one stays in force", error=str(error))
            return None
        self._seen = seen
        return parse_registry(text)


class _Server(uvicorn.Server):
    """Ends the streams before it waits for its connections to end."""

    def __init__(self, config: uvicorn.Config, stopping: threading.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: object) -> None:
        # Not uvicorn's own: that one raises the signal again after serving, and the process would end before the
        # last publications are stored and the files closed.
        del frame
        self._stopping.set()
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


def run_dashboards(
    *,
    registry_path: Path,
    public_dir: Path,
    store_url: str,
    replica: str,
    host: str,
    port: int,
    clock: Clock,
    watch: Callable[[Site], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Serve until SIGTERM or SIGINT; `watch` is around that.

    Raises
    ------
    RegistryError
        If the registry has mistakes.
    PublicationLogError
        If the log cannot be used: nothing may be published then.
    StoreError
        If the store's address cannot be used.
    """
    registry_file = _RegistryFile(registry_path)
    registry = registry_file.changed()
    if registry is None:
        raise FileNotFoundError(f"no registry at {registry_path}")
    log = PublicationLog(public_dir / "publications.sqlite")
    store = open_store(store_url)
    freshness = Freshness()
    board = PublicBoard(
        log=log, folder=public_dir / "snapshots", registry=registry, replica=replica, clock=clock
    )
    site = Site(board=board, store=store, freshness=freshness, clock=clock)
    logged = threading.Event()
    logged.set()  # what an earlier run logged and did not store is stored first
    stop = threading.Event()
    states = StateFollower(
        store=store,
        board=board,
        freshness=freshness,
        clock=clock,
        logged=logged,
        reload_registry=registry_file.changed,
    )
    publications = LogFollower(log=log, store=store, freshness=freshness, clock=clock, logged=logged)
    threads = [
        threading.Thread(target=states.run, args=(stop,), name="states"),
        threading.Thread(target=publications.run, args=(stop,), name="publications"),
    ]
    config = uvicorn.Config(
        create_app(site), host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=3
    )
    for thread in threads:
        thread.start()
    try:
        _log.info("serving", host=host, port=port, pools=len(registry.pools))
        with watch(site):
            _Server(config, site.stopping).run()
    finally:
        stop.set()
        logged.set()
        for thread in threads:
            thread.join()
        store.close()
        log.close()
