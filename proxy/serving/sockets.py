"""Listening sockets, and the limit on open files, which every connection counts towards."""

from __future__ import annotations

import resource
import socket

BACKLOG = 4096
FILE_LIMIT = 65_536


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of ``host``; port 0 picks a free one. Raises OSError."""
    sockets: list[socket.socket] = []
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    try:
        for family, kind, protocol, _, address in dict.fromkeys(addresses):
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # "::" listens on IPv4, too; any other IPv6 address has no IPv4 counterpart.
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
            if len(sockets) > 1:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)
    except OSError:
        for listener in sockets:
            listener.close()
        raise
    return sockets


def raise_file_limit(needed: int) -> int:
    """Allow at least ``needed`` open files if the system permits; the new limit. The usual 1,024 suits select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(FILE_LIMIT, needed)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return max(soft, limit)
