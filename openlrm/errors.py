"""The one exception a user is meant to read."""

from __future__ import annotations


class UserError(ValueError):
    """Input, configuration or environment that the user can put right.

    `launch` prints it as one line and exits with status 2; no traceback is shown.

    Example:
        >>> str(UserError("no such picture", "cat.png", "check image_input"))
        'no such picture: cat.png. check image_input'
    """

    def __init__(self, what: str, where: object = None, hint: str | None = None) -> None:
        """Say it in three parts.

        Args:
            what: what is wrong, with the value that was given.
            where: the file, option or place it was found in.
            hint: what to do about it.
        """
        super().__init__(what, where, hint)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        """Return what, where and hint on one line."""
        what, where, hint = (_one_line(part) for part in (self.what, self.where, self.hint))
        # A sentence that ends where the next part begins needs no second stop.
        head = ": ".join(part for part in (what.rstrip(".:") if where else what, where) if part)
        return f"{head.rstrip('.')}. {hint}" if hint else head


def _one_line(part: object) -> str:
    return "" if part is None else " ".join(str(part).split())
