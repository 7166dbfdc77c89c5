"""Tables of pictures, an id and base64 a row apart by a tab, as MUGE has them: where in the file each picture lies.

Such a file has gigabytes; it is read through once, row by row, and only the places are kept, about 300 bytes a picture.
"""

from __future__ import annotations

from pathlib import Path

from m6.config import UserError
from m6.tasks.example import PictureAt

LONGEST_ROW = 64 * 2**20  # bytes; no picture of these sets comes near


def picture_table(path: Path) -> dict[str, PictureAt]:
    """Every picture of a table by its id; of two with the same id the first counts. UserError for what is no table."""
    found: dict[str, PictureAt] = {}
    offset = number = 0
    try:
        with open(path, "rb", buffering=2**20) as file:
            while row := file.readline(LONGEST_ROW):
                number += 1
                tab = row.find(b"\t")
                length = len(row[tab + 1 :].rstrip()) if tab > 0 else 0
                if length and len(row) < LONGEST_ROW:
                    name = row[:tab].decode(errors="replace").removeprefix("\ufeff").strip()
                    found.setdefault(name, PictureAt(path, offset + tab + 1, length, base64=True))
                elif row.strip():
                    raise UserError(f"{path}, line {number}: no id and base64 apart by a tab")
                offset += len(row)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return found


def picture_of(table: dict[str, PictureAt], table_path: Path, name: object, where: str) -> PictureAt:
    """The picture of an id, a text or a number. UserError if the table has none of it."""
    found = table.get(str(name))
    if found is None:
        raise UserError(f"{where}: no picture {name!r} in {table_path.name}")
    return found
