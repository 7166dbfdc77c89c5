"""The command line of a script beside this file: paths, in order; what is wrong with them is one line, exit code 2."""

import sys
from collections.abc import Callable
from pathlib import Path

from m6.config import UserError


def run(script: Callable[..., None], about: str, fewest: int) -> None:
    """Call a script with the paths of the process. `about`, its docstring, has the usage behind the colon of its first
    line."""
    paths = list(map(Path, sys.argv[1:]))
    usage = about.splitlines()[0].rpartition(": ")[2]
    try:
        if len(paths) < fewest:
            raise UserError(f"usage: {usage}")
        script(*paths)
    except (UserError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
