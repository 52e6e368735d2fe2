"""Who listens on a TCP port of this machine, as far as the kernel tells this user."""

from pathlib import Path

_LISTEN = "0A"
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


def holder_of(port: int) -> str:
    """Name and process id of the program that listens on `port`; "another program" where nobody tells."""
    inodes = _listening_inodes(port)
    if inodes:
        links = {f"socket:[{inode}]" for inode in inodes}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and _holds(folder, links):
                return f"{_name_of(folder)} (process {folder.name})"
    return "another program"


def _listening_inodes(port: int) -> set[str]:
    """Inodes of the sockets that listen on a port; columns of the kernel's proc_net_tcp: 1 address, 3 state, 9 inode."""
    inodes = set()
    for table in _TABLES:
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == _LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.add(columns[9])
    return inodes


def _holds(process: Path, links: set[str]) -> bool:
    try:
        return any(str(entry.readlink()) in links for entry in (process / "fd").iterdir())
    except OSError:  # another user's process, or one that has just ended
        return False


def _name_of(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8").strip()
    except OSError:
        return "a program"
