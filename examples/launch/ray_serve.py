"""A server on several machines under Ray Serve: python examples/launch/ray_serve.py runs/quickstart --replicas 4

    pip install 'open-m6[serve]' 'ray[serve]'

Each replica is `m6 serve` as it is, with slots and a queue of its own; Ray gives it its requests, starts another where
one is lost, and takes in the flags of `m6 serve` too. The folder has to be on a disk that all machines share.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

try:
    from ray import serve
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.types import Receive, Scope, Send
except ImportError as error:
    print(f"ray_serve: {error.name} is missing: pip install 'open-m6[serve]' 'ray[serve]'", file=sys.stderr)
    sys.exit(2)

from m6 import flags
from m6.config import UserError
from m6.serve.config import ServeConfig
from m6.serve_flags import settings
from m6.shipped import run_folder


async def pass_on(scope: Scope, receive: Receive, send: Send) -> None:
    """To the app of this replica, which is made where the model is loaded: it cannot travel."""
    await serve.get_replica_context().servable_object.served(scope, receive, send)


@serve.deployment
@serve.ingress(Starlette(routes=[Mount("/", app=pass_on)]))
class M6:
    """One replica."""

    def __init__(self, folder: str, values: dict[str, Any]) -> None:
        from m6.serve.app import make_app
        from m6.serve.service import Service

        self.service = Service(Path(folder), ServeConfig().override(values))
        self.served = make_app(self.service)

    def __del__(self) -> None:
        if hasattr(self, "service"):
            self.service.close()


def main(words: list[str]) -> int:
    """Serves until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=run_folder, help="a run, or mini")
    parser.add_argument("--replicas", type=int, default=1, help="servers, on whatever machines have room")
    parser.add_argument("--cpus", type=float, default=2, help="cores of each")
    given, rest = parser.parse_known_args(words)
    try:
        alone, named = flags.split(rest)
        if alone or not (given.folder / "config.json").is_file():
            raise UserError(
                f"{' '.join(alone) or given.folder}: one run folder is served; make one with: m6 quickstart"
            )
        config = settings(named)
    except UserError as error:
        print(f"ray_serve: {error}", file=sys.stderr)
        return 2
    replicas = M6.options(
        num_replicas=given.replicas, ray_actor_options={"num_cpus": given.cpus},
        # More than a replica takes, so that it is the replica that says 429, at once and in OpenAI's form.
        max_ongoing_requests=2 * (config.slots + config.max_queue), graceful_shutdown_timeout_s=config.max_seconds,
    )  # fmt: skip
    serve.start(http_options={"host": config.host, "port": config.port})
    serve.run(replicas.bind(str(given.folder.absolute()), config.model_dump()), name="m6", blocking=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
