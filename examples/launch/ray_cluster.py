"""Several machines under Ray: python examples/launch/ray_cluster.py --ranks 16 100b --out /shared/runs/100b

Each rank is an actor with a GPU of its own (--cpu: with a core instead). The folder has to be on a disk that all
machines share. When a rank is lost, all start again from the last checkpoint, three times at the most (--restarts).
"""

from __future__ import annotations

import argparse
import os
import socket
import sys

import ray


@ray.remote
class Rank:
    """One process of the training."""

    def address(self) -> tuple[str, int]:
        """This machine, and a port of it that is free, for the others to find the first rank."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    def pretrain(self, words: list[str], environment: dict[str, str]) -> int:
        """The exit code of `m6 pretrain WORDS`."""
        from m6.cli import main

        os.environ |= environment
        return main(["pretrain", *words])


def attempt(ranks: int, words: list[str], cpu: bool) -> int:
    """Starts all ranks and waits for them: the largest of their exit codes. RayError if one is lost."""
    resources = {"num_cpus": 1} if cpu else {"num_cpus": 1, "num_gpus": 1}
    actors = [Rank.options(**resources).remote() for _ in range(ranks)]
    try:
        host, port = ray.get(actors[0].address.remote())
        hosts = [each for each, _ in ray.get([actor.address.remote() for actor in actors])]
        waiting = []
        for rank, actor in enumerate(actors):
            # Ray shows each actor its own GPU alone, which is then the first.
            own = {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": "0" if not cpu else str(rank)}
            own |= {"MASTER_ADDR": host if len(set(hosts)) > 1 else "127.0.0.1", "MASTER_PORT": str(port)}
            waiting.append(actor.pretrain.remote(words, own))
        codes = []
        while waiting:  # so that one that is lost is seen at once
            (ended,), waiting = ray.wait(waiting)
            codes.append(ray.get(ended))
        return max(codes)
    finally:
        for actor in actors:
            ray.kill(actor)


def main() -> int:
    """The words of the command line; 1 if ranks were lost too often."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, required=True)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--restarts", type=int, default=3)
    given, words = parser.parse_known_args()
    ray.init(log_to_driver=True)
    for left in range(given.restarts, -1, -1):
        try:
            code = attempt(given.ranks, words, given.cpu)
        except ray.exceptions.RayError as error:
            reason = str(error).splitlines()[0]
            print(f"a rank was lost ({reason}); {left} more starts", file=sys.stderr)
        else:
            if code != 1:
                return code
    return 1


if __name__ == "__main__":
    sys.exit(main())
