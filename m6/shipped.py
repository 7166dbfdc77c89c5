"""The trained run that comes with the package, by its name, and what a name on a command line means.

`mini` is made by the recipe of that name and packed by `m6 export --form packed`; README.md beside its weights is its
model card. Nothing is ever written there.
"""

from __future__ import annotations

from pathlib import Path

from m6.config import UserError

DEFAULT = "mini"
"""What `m6 generate` and `m6 serve` ask if no run is named."""
SHIPPED = {DEFAULT: Path(__file__).parent / "mini"}
"""Run folders within the package."""
LICENCE = "apache-2.0"
"""Of their weights, as Hugging Face spells it."""


def run_folder(name: str | Path) -> Path:
    """The run folder that is meant: the path itself, or one of the package. What stands at the path goes first."""
    path = Path(name)
    return SHIPPED.get(str(name), path) if not path.exists() else path


def lasting(name: str | Path) -> str:
    """The same run, as a config can keep it: an absolute path, or its name in the package, wherever that lies."""
    return str(name) if is_shipped(name) else str(Path(name).resolve())


def is_shipped(name: str | Path) -> bool:
    """Whether one of the package is meant."""
    return run_folder(name) in SHIPPED.values()


def told(name: str | Path) -> str:
    """The same run, as a message names it: its name in the package, or its path."""
    return next((known for known, path in SHIPPED.items() if path == run_folder(name)), str(name))


def check_own(name: str | Path) -> Path:
    """The run folder that is meant. UserError for one of the package, where nothing is to be written."""
    if is_shipped(name):
        raise UserError(
            f"{name} comes with the package, where nothing is written; make a run of your own of it first:"
            f" m6 export {name} --form packed --out runs/{name}"
        )
    return run_folder(name)
