"""Reading again what a disk or a network did not give at once."""

from __future__ import annotations

from PIL import UnidentifiedImageError

WAITS = (0.1, 0.5)
"""Seconds before the second and the third attempt."""

# What these say is so, however often it is asked.
_FOR_GOOD = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError, UnidentifiedImageError)


def may_pass(error: BaseException) -> bool:
    """Whether a failure to read may be gone on the next attempt.

    It may when the system reported it, whatever was made of that on the way (`raise ... from`). A decoder reports a
    file that is cut short in the same way, whether on the disk or by the network.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):
            return not isinstance(seen, _FOR_GOOD)
        seen = seen.__cause__
    return False
