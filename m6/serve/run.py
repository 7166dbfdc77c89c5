"""`m6 serve RUN`: the server process, from loading the run to the last answer."""

from __future__ import annotations

import math
import signal
import socket
import sys
import time
from pathlib import Path

from m6.config import UserError
from m6.serve.config import ServeConfig

GRACE = 3  # seconds that what is still coming has when the server is told to end


def serve(folder: Path, config: ServeConfig) -> None:
    """Serves until it is told to end; then what has been asked is answered first. UserError."""
    try:
        import uvicorn

        from m6.serve.app import make_app
    except ModuleNotFoundError as error:
        raise UserError(f"m6 serve needs {error.name}: pip install 'open-m6[serve]'") from None
    from m6.serve.service import Service

    began = time.monotonic()
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((config.host, config.port))
    except OSError as error:
        raise UserError(f"--host {config.host} --port {config.port}: {error.strerror}; take another") from None
    service = Service(folder, config)
    host, port = listening.getsockname()[:2]
    room = service.scheduler.slots.bytes / 2**20
    print(
        f"m6: {service.name} at http://{host}:{port} after {time.monotonic() - began:.1f} s; "
        f"{config.slots} slots, {room:.0f} MiB of keys and values",
        file=sys.stderr, flush=True,
    )  # fmt: skip

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            service.closing = time.monotonic() + GRACE
            await super().shutdown(sockets)

    longest = math.ceil(config.max_seconds) + GRACE
    server = Server(uvicorn.Config(make_app(service), log_level="warning", timeout_graceful_shutdown=longest))
    for number in (signal.SIGTERM, signal.SIGINT):  # the server takes them, and gives them back when it has ended
        signal.signal(number, signal.SIG_IGN)
    server.run(sockets=[listening])
    service.close()
