"""A dry run by itself, so that its memory is its own: python -m benchmarks.scale_dry SIZE WORLD PARALLEL SMOKE

Prints seconds, GiB of this process, and the bytes of each collective. SMOKE 1 leaves two layers of the model.
"""

from __future__ import annotations

import json
import sys

from m6.model.sizes import SIZES
from m6.parallel.config import ParallelConfig
from m6.train.dry_run import dry_run


def main(size: str, world: str, parallel: str, smoke: str) -> None:
    """Run, and print a line of JSON."""
    model = SIZES[size].model.override({"num_layers": 2}) if smoke == "1" else SIZES[size].model
    found = dry_run(model, SIZES[size].vocab_size, int(world), ParallelConfig.model_validate(json.loads(parallel)))
    few = [(what.kind, what.group, sent.bytes) for what, sent in found.traffic.items() if what.kind != "all_reduce"]
    print(json.dumps({"seconds": found.seconds, "host_gib": found.host_gib, "traffic": few}))


if __name__ == "__main__":
    main(*sys.argv[1:])
