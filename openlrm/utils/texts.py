"""Text files and names as other programs write them."""

from __future__ import annotations

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DIGITS = re.compile(r"([0-9]+)")


def decode(data: bytes) -> str:
    """Decode a text file: UTF-8, or what its byte order mark says.

    Editors on Windows put the mark in front; PowerShell's `>` writes UTF-16.

    Args:
        data: contents of the file.

    Returns:
        The text without the mark, lines ending in a line feed.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    return data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def list_lines(text: str) -> list[str]:
    """Return the lines of a list that hold something, without the spaces around them.

    A mark in front of a line is left from lists that were put together.
    """
    lines = (line.strip().removeprefix("\ufeff").strip() for line in text.split("\n"))
    return [line for line in lines if line]


def natural_key(name: str) -> tuple[list, str]:
    """Sort key by which 5 comes before 12, as people count, and 05 beside 5."""
    parts = _DIGITS.split(name)
    # Text and numbers alternate, so that like is compared with like; int() would refuse a number of 5000 digits.
    numbers = [(len(part.lstrip("0")), part.lstrip("0")) if at % 2 else part for at, part in enumerate(parts)]
    return numbers, name
