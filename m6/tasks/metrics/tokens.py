"""How a text is cut for scores that count words: every character is one, but a run of letters or digits is one too.

MUGE scores captions so (paper section 10 of its team's later benchmark), and with it CIDEr-D, BLEU-4 and ROUGE-L here.
Blanks separate and do not count.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"[A-Za-z]+|[0-9]+|\S")


def tokens(text: str) -> list[str]:
    """ "iPhone 15手机" -> ["iPhone", "15", "手", "机"]."""
    return _TOKEN.findall(text)
