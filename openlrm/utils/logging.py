"""Log lines: short on the console, time-stamped in a file, tidy beside progress bars."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path

from openlrm.errors import UserError
from openlrm.utils.paths import ensure_dir

LEVELS = ("debug", "info", "warning", "error")
_ROOT = "openlrm"


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a module.

    Args:
        name: usually `__name__`; names outside the package are put below it, so that one setup serves all.
    """
    return logging.getLogger(name if name.split(".")[0] == _ROOT else f"{_ROOT}.{name}")


def setup_logging(level: str = "info", file: str | os.PathLike | None = None) -> None:
    """Send the project's log to standard error and, if wanted, to a file as well.

    May be called again: the earlier handlers are closed and replaced. Other loggers are left alone.

    Args:
        level: least severity shown: debug, info, warning or error.
        file: log file, appended to; None for the console alone.

    Raises:
        UserError: unknown level, or a file that cannot be written.
    """
    if level.lower() not in LEVELS:
        raise UserError(f"unknown log level {level!r}", hint=f"use one of {', '.join(LEVELS)}")
    handlers: list[logging.Handler] = [_ConsoleHandler()]
    handlers[0].setFormatter(_ConsoleFormatter())
    if file is not None:
        handlers.append(_open_log(Path(file)))
    root = logging.getLogger(_ROOT)
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level.upper())
    root.propagate = False


class _ConsoleHandler(logging.Handler):
    """Write to the standard error of the moment, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            # A bar exists only if someone has imported tqdm; importing it here would slow every start.
            if "tqdm" in sys.modules:
                sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
            else:
                print(line, file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


class _ConsoleFormatter(logging.Formatter):
    """The bare message, with its severity in front where that matters."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return line if record.levelno == logging.INFO else f"{record.levelname.lower()}: {line}"


class _LogFile(logging.FileHandler):
    """A log file that a full disk silences: told once, work goes on."""

    full = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Tell a full disk once; anything else as logging does."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.full:
            self.full = True
            print(f"warning: cannot write the log ({error.strerror}): {self.baseFilename}", file=sys.stderr)

    def close(self) -> None:
        """Close it; what found no room is gone."""
        with contextlib.suppress(OSError):
            super().close()


def _open_log(file: Path) -> logging.Handler:
    ensure_dir(file.parent)
    try:
        handler = _LogFile(file, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write the log ({error.strerror})", file, "choose another file") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return handler
