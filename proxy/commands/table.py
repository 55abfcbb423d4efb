"""Tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(rows: Sequence[Sequence[str]], widths: Sequence[int] = ()) -> list[int]:
    """Returns the widths of the columns; pass them on to continue the table.

    Control characters, which could move the cursor, are left out.
    """
    plain = [[printable(cell) for cell in row] for row in rows]
    needed = [max(map(len, column)) for column in zip(*plain, strict=True)]
    result = [max(pair) for pair in zip(needed, widths or needed, strict=True)]
    for row in plain:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, result, strict=True)).rstrip())
    return result


def printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable())
