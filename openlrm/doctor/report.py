"""What a check found, and how it is shown."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import NamedTuple

from openlrm.errors import UserError

_NAME_WIDTH = 32


class Finding(NamedTuple):
    """Outcome of a check.

    Attributes:
        status: "ok", "note" (worth knowing, nothing is broken) or "problem".
        text: what was found, with its numbers.
        hint: what to do about it.
    """

    status: str
    text: str
    hint: str | None = None


def ok(text: str) -> Finding:
    """All is well."""
    return Finding("ok", text)


def note(text: str, hint: str | None = None) -> Finding:
    """Worth knowing; nothing is broken."""
    return Finding("note", text, hint)


def problem(text: str, hint: str) -> Finding:
    """Something is wrong; `hint` says what to do."""
    return Finding("problem", text, hint)


class Report:
    """Runs checks one after the other and prints a line for each.

    Attributes:
        problems: names of the checks that found one.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []

    def check(self, name: str, check: Callable[..., Finding], *arguments: object) -> Finding:
        """Run a check and print what it found.

        Args:
            name: shown in front of the line.
            check: called with `arguments`. What it raises is a problem of this check alone.
            arguments: of the check.

        Returns:
            What it found.
        """
        try:
            finding = check(*arguments)
        except UserError as error:
            finding = Finding("problem", str(UserError(error.what, error.where)), error.hint)
        except Exception as error:
            finding = _crash(error)
        if finding.status == "problem":
            self.problems.append(name)
        # UserError joins the parts on one line, whatever is in them.
        line = UserError(finding.text, hint=finding.hint)
        print(f"{finding.status:8} {name:{_NAME_WIDTH}} {line}", flush=True)
        return finding

    def finish(self) -> int:
        """Print the verdict; return the exit code, 1 when there was a problem."""
        if self.problems:
            print(f"{len(self.problems)} of the checks found a problem: {', '.join(self.problems)}")
            return 1
        print("all is well")
        return 0


def _crash(error: Exception) -> Finding:
    place = traceback.extract_tb(error.__traceback__)[-1]
    lines = str(error).strip().splitlines() or ["no message"]
    text = f"{type(error).__name__}: {lines[0]} ({place.filename}, line {place.lineno})"
    return problem(text, "if the packages fit what is asked for above, report this line")
