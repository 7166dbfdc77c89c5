"""Under which licence a source is, as far as its config tells it."""

from __future__ import annotations

from m6.corpus.config import PackagesConfig, SourceConfig
from m6.corpus.starter.packages import COLLECTIONS

PICTURES = "Apache-2.0 (pictures), Unicode-3.0 (words)"
BUNDLED = {"emoji": PICTURES, "scenes": PICTURES, "poems": "MIT (the works are in the public domain)"}
"""Those of the bundled sample by kind of source; its file NOTICE has more."""


def licence_of(config: SourceConfig) -> str:
    """The licence that a recipe names, else that of the bundled sample or of a package; "" if nothing tells it."""
    if config.licence:
        return config.licence
    if isinstance(config, PackagesConfig) and config.name in COLLECTIONS:
        return COLLECTIONS[config.name].licence
    return BUNDLED.get(config.kind, "")
