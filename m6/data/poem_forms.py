"""The forms of poems, by their names: 五言绝句 has four lines of five characters, 七言律诗 eight of seven.

A form whose name does not say how many lines it has, or how long they are, leaves that open. Every form has lines of
one length in pairs, the first of which ends with a comma, the second with a full stop.
"""

from __future__ import annotations

import re

from m6.config import UserError

FORMS = ("五言绝句", "七言绝句", "五言律诗", "七言律诗", "五言古诗", "七言古诗")
"""Those that models learn."""
SHORT = {f"{form[0]}{form[2]}": form for form in FORMS}
"""What people call them for short: 五绝 is 五言绝句."""
MIN_LINES, MAX_LINES = 4, 16
LINE_LENGTHS = {"五": 5, "七": 7}
NUM_LINES = {"绝": 4, "律": 8}


def form_of(name: str) -> str:
    """The form of a name, which may be the short one. UserError for any other."""
    form = SHORT.get(name, name)
    if form not in FORMS:
        raise UserError(
            f"form {name}: no model learns it; allowed are {', '.join(FORMS)}, or 五绝 and the like for short"
        )
    return form


def line_length(form: str) -> int:
    """Characters of a line in a form, 0 if its name does not say."""
    return next((length for name, length in LINE_LENGTHS.items() if form.startswith(name)), 0)


def num_lines(form: str) -> int:
    """Lines of a poem in a form, 0 if its name does not say."""
    return next((number for name, number in NUM_LINES.items() if name in form), 0)


def has_form(poem: str, form: str = "") -> bool:
    """Whether a finished text keeps the rule; it is read as a person would, without knowledge of the masks."""
    lines = re.findall(r"[^，。\n]+[，。]", poem)
    lengths = {len(line) - 1 for line in lines}
    wanted = {line_length(form)} if line_length(form) else {5, 7}
    return (
        "".join(lines) == poem.replace("\n", "")
        and len(lengths) == 1
        and lengths <= wanted
        and MIN_LINES <= len(lines) <= MAX_LINES
        and len(lines) % 2 == 0
        and (not num_lines(form) or len(lines) == num_lines(form))
        and all(line.endswith("，" if index % 2 == 0 else "。") for index, line in enumerate(lines))
    )
