"""Put on the path as `sitecustomize`: logs every attempt to connect to a host or look it up, except loopback."""

import os
import socket

_resolve, _connect = socket.getaddrinfo, socket.socket.connect
_LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0", "", None)


def _note(host: object) -> None:
    with open(os.environ["RUNGWISE_TEST_NETWORK"], "a") as log:
        log.write(f"{host}\n")


def _getaddrinfo(host, *arguments, **more):
    name = host.decode() if isinstance(host, bytes) else host
    if name not in _LOCAL:
        _note(name)
        raise socket.gaierror(f"no lookups in this test: {name}")
    return _resolve(host, *arguments, **more)


def _connect_noted(self, address):
    if isinstance(address, tuple) and address[0] not in _LOCAL:
        _note(address[0])
        raise OSError(f"no connections in this test: {address[0]}")
    return _connect(self, address)


socket.getaddrinfo = _getaddrinfo
setattr(socket.socket, "connect", _connect_noted)  # noqa: B010  # a plain assignment to a method is a type error
