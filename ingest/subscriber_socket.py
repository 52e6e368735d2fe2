"""A socket for the MQTT client that reads in large chunks, keeps messages back and joins what is sent."""

import contextlib
import socket
import ssl
import time

from gateway.contract.times import Clock
from ingest.incoming import Incoming
from ingest.subscriber_peeler import Peeler

#: Large enough that the calls cost nothing beside the messages, small enough to stay in the processor's cache.
_CHUNK_BYTES = 128 * 1024
_WOULD_BLOCK = (BlockingIOError, InterruptedError, ssl.SSLWantReadError)


class PeelingSocket:
    """Stands between a connected socket and the client.

    `fill` alone reads the network. The client's `recv` gets what is no message, in whole packets; its `send` never
    sends a part, because all that goes out is joined here and leaves with `flush`. Not thread-safe.

    Parameters
    ----------
    connected : socket.socket
        Connected, with TLS or without. Is owned from here on.
    peeler : Peeler
        Cuts what comes.
    clock : Clock
        For the messages' `received_at_ms`.
    """

    def __init__(self, connected: socket.socket, peeler: Peeler, clock: Clock) -> None:
        self._socket = connected
        self._peeler = peeler
        self._clock = clock
        self._outgoing = bytearray()
        self._reading_must_write = False
        self._ended = False
        self._failure: OSError | None = None
        self._leave_within_s: float | None = None

    @property
    def has_control(self) -> bool:
        """Whether the client has something to read: a packet, or the connection's end."""
        return bool(self._peeler.control) or self._ended

    @property
    def unsent_bytes(self) -> int:
        """What waits to go out."""
        return len(self._outgoing)

    @property
    def must_write(self) -> bool:
        """Whether to wait for the network to take bytes too."""
        return bool(self._outgoing) or self._reading_must_write

    @property
    def has_ended(self) -> bool:
        """Whether broker or network have ended the connection."""
        return self._ended

    @property
    def failure(self) -> OSError | None:
        """Why the connection ended, unless the broker closed it."""
        return self._failure

    def fill(self) -> int:
        """Read one chunk and cut it; its bytes, 0 if nothing is there now, or nothing will come any more."""
        if self._ended:
            return 0
        self._reading_must_write = False
        try:
            chunk = self._socket.recv(_CHUNK_BYTES)
            if chunk:
                self._peeler.feed(chunk, received_at_ms=self._clock())
                return len(chunk)
            self._ended = True
        except _WOULD_BLOCK:
            pass
        except ssl.SSLWantWriteError:
            self._reading_must_write = True
        except OSError as error:  # a StreamError is one
            self._fail(error)
        return 0

    def take_messages(self) -> list[Incoming]:
        """Messages cut since the last call."""
        messages = self._peeler.messages
        if messages:
            self._peeler.messages = []
        return messages

    def take_confirmed(self) -> list[tuple[int, int]]:
        """PUBACKs, as (packet id, reason code), since the last call."""
        confirmed = self._peeler.confirmed
        if confirmed:
            self._peeler.confirmed = []
        return confirmed

    def add(self, packets: bytes) -> None:
        """Have packets leave with the next `flush`."""
        self._outgoing += packets

    def flush(self) -> None:
        """Send as much as the network takes now."""
        while self._outgoing and not self._ended:
            try:
                # A copy: TLS wants the same bytes again, and a bytearray cannot grow while it is lent.
                sent = self._socket.send(bytes(self._outgoing))
            except (*_WOULD_BLOCK, ssl.SSLWantWriteError):
                return
            except OSError as error:
                self._fail(error)
                return
            del self._outgoing[:sent]

    def _fail(self, error: OSError) -> None:
        """Kept for the client's next `recv`, which ends the connection in the client's way."""
        self._ended = True
        self._failure = error

    def leave(self, *, within_s: float) -> None:
        """Have `close` send what is unsent and let the broker end the connection, for `within_s` at most."""
        self._leave_within_s = within_s

    def _leave(self, within_s: float) -> None:
        deadline_s = time.monotonic() + within_s
        self._socket.settimeout(within_s)
        self._socket.sendall(self._outgoing)
        self._socket.shutdown(socket.SHUT_WR)
        # Closed with bytes unread, the connection would be reset, and with it what the broker has not read yet.
        # Messages among them have no acknowledgement and stay with the broker.
        while (left_s := deadline_s - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            if not self._socket.recv(_CHUNK_BYTES):
                return

    # What follows is the client's side.

    def recv(self, buffer_size: int) -> bytes:
        """Bytes of packets that are no messages; nothing at the connection's end."""
        control = self._peeler.control
        if control:
            taken = bytes(control[:buffer_size])
            del control[:buffer_size]
            return taken
        if self._failure is not None:
            raise self._failure
        if self._ended:
            return b""
        raise BlockingIOError

    def send(self, buffer: bytes | bytearray) -> int:
        """Take all of it, and send as much as the network takes."""
        self._outgoing += buffer
        self.flush()
        return len(buffer)

    def close(self) -> None:
        """Close the socket."""
        try:
            if self._leave_within_s is not None and not self._ended:
                with contextlib.suppress(OSError):
                    self._leave(self._leave_within_s)
        finally:
            self._ended = True
            self._socket.close()

    def fileno(self) -> int:
        """File descriptor, for waiting."""
        return self._socket.fileno()

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - the signature is the socket's
        """Whether the socket waits: it never does, once it is connected."""
        self._socket.setblocking(flag)
