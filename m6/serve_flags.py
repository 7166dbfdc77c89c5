"""The command line of `m6 serve`: words to a run folder and the settings of the server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from m6 import flags
from m6.config import UserError
from m6.serve.config import ServeConfig
from m6.shipped import DEFAULT, run_folder

KEY = "M6_API_KEY"
"""Of the environment, where the list of processes does not show it."""
_HELP = """\
m6 serve [RUN] [--name value ...]: answer over HTTP, as OpenAI's interface does, and show the studio page.

RUN is a trained run folder; without one it is mini, the small model of the package.

Flags, with their values:
{flags}"""


def describe() -> str:
    """Help of the verb."""
    return _HELP.format(flags=flags.describe(ServeConfig(), ()))


def serve(words: Sequence[str]) -> None:
    """Serves what the words name until it is told to end. UserError for whatever is wrong with them."""
    alone, given = flags.split(words)
    if len(alone) > 1:
        raise UserError("m6 serve takes one run folder, or none for mini; see `m6 serve --help`")
    folder = run_folder(alone[0] if alone else DEFAULT)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no run folder (no config.json); make one with: m6 quickstart")
    config = settings(given)
    from m6.serve.run import serve as run

    run(folder, config)


def settings(given: Mapping[str, str]) -> ServeConfig:
    """The settings of these flags, and the key of the environment. UserError for flags that make no sense."""
    values = flags.values(dict(given), ServeConfig(), "serve")
    key = os.environ.get(KEY, "")
    config = ServeConfig().override({"api_key": key, **values})
    if "text_slots" in given and config.text_slots >= config.slots:
        raise UserError(f"--text_slots {config.text_slots}: it has to be below --slots, here {config.slots}")
    return config
