"""Where to listen: checked before anything is started, so that the error names the knob and not a process."""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address

from colonnade.wire.errors import BadSetting, SetupError
from colonnade.wire.settings import Resolved


def check_free(settings: Resolved) -> None:
    """Raises SetupError when the gateway's address cannot be listened on."""
    host, port = settings.gateway.host, settings.gateway.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as cause:
        raise _refusal(settings, cause) from cause


def check_auth(settings: Resolved) -> None:
    """Raises BadSetting for an address beyond this machine without keys."""
    if not settings.gateway.auth and not is_loopback(settings.gateway.host):
        raise BadSetting(
            f"{settings.gateway.host} can be reached from other machines, and keys are off",
            hint=f"leave out --no-auth (off by {settings.origins['gateway.auth']}), "
            f"or listen on 127.0.0.1 (--host, from {settings.origins['gateway.host']})",
        )


def is_loopback(host: str) -> bool:
    """Of a name or an address; an empty one means all addresses."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _refusal(settings: Resolved, cause: OSError) -> SetupError:
    host, port = settings.gateway.host, settings.gateway.port
    origins = settings.origins
    if cause.errno == errno.EADDRINUSE:
        return SetupError(
            f"port {port} on {host} is in use",
            hint=f"--port N takes another, --port 0 a free one ({port} is from: {origins['gateway.port']})",
            code="port_in_use",
        )
    if cause.errno == errno.EACCES:
        return SetupError(
            f"this user may not listen on port {port}",
            hint=f"--port N with N of 1024 or more ({port} is from: {origins['gateway.port']})",
            code="port_refused",
        )
    return SetupError(
        f"cannot listen on {host}: {cause.strerror or cause}",
        hint=f"--host names the address ({host} is from: {origins['gateway.host']})",
        code="host_refused",
    )
