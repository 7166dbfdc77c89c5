"""What has to be the same on all ranks before they train together: code, versions, config and data.

Ranks of other code or other data would train something else each, and wait for one another in collectives that do not
fit. Each rank makes a fingerprint, names with short values; they are compared before anything else is exchanged.
"""

from __future__ import annotations

import hashlib
import platform
import secrets
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from m6.config import Config, leaves
from m6.parallel.mesh import AgreedError, Ranks
from m6.shards import MANIFEST

PACKAGES = ("torch", "numpy")
FILES = {
    "the corpus": f"corpus/{MANIFEST}",
    "the tokenizer": "tokenizer/tokenizer.json",
    "the image codes": f"vqgan/codes/{MANIFEST}",
}
"""Of a run folder; a manifest holds the SHA-256 of the files that it lists."""
DIGITS = 12  # of a SHA-256, enough to tell two apart
MOST_NAMED = 3  # differences in one line


def fingerprint(folder: Path, config: Config) -> dict[str, str]:
    """That of this process for a run in `folder`."""
    package = Path(__file__).parents[1]
    sources = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        sources.update(f"{path.relative_to(package)}\0".encode())
        sources.update(hashlib.sha256(path.read_bytes()).digest())
    found = {"the code of m6": sources.hexdigest()[:DIGITS], "python": platform.python_version()}
    found |= {name: version(name) for name in PACKAGES}
    found |= {name: _digest(folder / file) for name, file in FILES.items()}
    return found | {name: repr(value) for name, value in leaves(config.model_dump(mode="json"))}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:DIGITS] if path.is_file() else "missing"


def differences(found: Sequence[Mapping[str, str]]) -> list[str]:
    """What differs between ranks, in order: "torch: 2.11.0 on ranks 0, 1, 2.13.0 on rank 2"."""
    lines = []
    for name in dict.fromkeys(name for each in found for name in each):
        ranks_of: dict[str, list[int]] = {}
        for rank, each in enumerate(found):
            ranks_of.setdefault(each.get(name, "missing"), []).append(rank)
        if len(ranks_of) > 1:
            parts = (
                f"{value} on rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"
                for value, ranks in ranks_of.items()
            )
            lines.append(f"{name}: {'; '.join(parts)}")
    return lines


def check_shared(ranks: Ranks, folder: Path) -> None:
    """AgreedError, on all ranks, unless the folder is the same for all: each looks for a file that the first writes."""
    with ranks.agreed():
        sign = folder / f".shared-{ranks.gather(secrets.token_hex(8))[0]}"
        if ranks.first:
            sign.touch()
        ranks.wait()
        found = sign.exists()
        ranks.wait()
        if ranks.first:
            sign.unlink()
        if not found:
            raise AgreedError(
                f"rank {ranks.rank} finds another folder at {folder}; a run needs one that all nodes share"
            )


def compare(ranks: Ranks, own: Mapping[str, str]) -> None:
    """AgreedError, on all ranks, unless the fingerprints of all are the same."""
    different = differences(ranks.gather(own))
    if different:
        more = f" (and {len(different) - MOST_NAMED} more)" if len(different) > MOST_NAMED else ""
        raise AgreedError(
            f"the ranks are not alike; {', and '.join(different[:MOST_NAMED])}{more}. "
            "Give all nodes the same code, packages, command and run folder"
        )
