"""Start a runner: `python -m openlrm.launch infer.lrm image_input=cup.png`, or `openlrm infer.lrm ...`."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from openlrm import __version__
from openlrm.config import format_help, load_config, parse_command_line
from openlrm.config.schema import nearest
from openlrm.errors import UserError
from openlrm.runners import find_runner, runner_table

_NO_OUTPUT = {errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC}
"""What a stream says that takes no more."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for.

    Args:
        argv: runner's name and its options; None takes those of the process.

    Returns:
        Exit code: the runner's own, or see `exit_code`. Without a runner, or with one that does not exist, the
        runners are listed on standard error and the code is 2.
    """
    return exit_code(_dispatch, list(sys.argv[1:] if argv is None else argv))


def exit_code(command: Callable[..., int | None], *arguments: Any) -> int:
    """Run a command line; the scripts of the repository end through it as well.

    Args:
        command: returns its exit code, None meaning 0.
        arguments: handed to it.

    Returns:
        The command's exit code; 2 for a mistake of the user, or an output that cannot be written, told in one line on
        standard error; 130 when interrupted or told to terminate.
    """
    _print_any_letter()
    try:
        with _terminating_as_interrupt():
            code = command(*arguments) or 0
        if sys.stdout is not None:  # it was closed before we began
            sys.stdout.flush()
    except UserError as error:
        return _complain(f"error: {error}", 2)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except BrokenPipeError:
        # The reader has gone, as with `| head`.
        _silence(sys.stdout)
        return 0
    except OSError as error:
        if error.errno not in _NO_OUTPUT or error.filename is not None:
            raise
        if not any(_cannot_be_written(stream) for stream in (sys.stdout, sys.stderr)):
            raise
        return _complain(f"error: cannot write to standard output ({error.strerror}). send it elsewhere", 2)
    return code


def _print_any_letter() -> None:
    """Print letters that the console's encoding lacks as escapes: a name in a message must not end the work."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _complain(line: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
    return code


def _cannot_be_written(stream: TextIO | None) -> bool:
    """Whether nothing can be printed, as on a full disk; what was to be printed is dropped then."""
    try:
        if stream is not None:
            # A flush alone says nothing: the one that failed has dropped what there was.
            print(file=stream, flush=True)
    except OSError:
        _silence(stream)
        return True
    return False


def _silence(stream: TextIO) -> None:
    """Send what is still to be written nowhere, so that Python's own flush at exit does not complain."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextlib.contextmanager
def _terminating_as_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that nothing half-written stays.

    It is also what Control-C becomes: once a kernel has run, MindSpore's own handler answers SIGINT with SIGTERM.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier or signal.SIG_DFL)


def _dispatch(argv: list[str]) -> int | None:
    if not argv:
        print(_list_runners(), end="", file=sys.stderr)
        return 2
    name, *rest = argv
    if name in ("-h", "--help"):
        print(_list_runners(), end="")
        return 0
    if name == "--version":
        print(f"openlrm {__version__}")
        return 0
    runner = find_runner(name)
    if runner is None:
        print(_list_runners(), file=sys.stderr)
        near = nearest(name, runner_table())
        raise UserError(f"no runner {name!r}", hint=f"did you mean {near}?" if near else "choose one of the above")
    yaml_files, overrides, wants_help = parse_command_line(runner.Config, rest)
    if wants_help:
        print(format_help(runner.Config, f"{_command()} {name}", runner.summary, runner.examples), end="")
        return 0
    return runner(load_config(runner.Config, yaml_files, overrides)).run()


def _command() -> str:
    """Return the command as it was typed: the installed script or the module."""
    started_as = Path(sys.argv[0]).stem
    return "openlrm" if started_as == "openlrm" else "python -m openlrm.launch"


def _list_runners() -> str:
    runners = runner_table()
    width = max(map(len, runners))
    lines = [f"  {name:{width}}  {summary}" for name, summary in runners.items()]
    usage = f"usage: {_command()} RUNNER [options]"
    more = f"{_command()} RUNNER --help lists the options of a runner, with examples."
    return "\n".join([usage, "", "runners:", *lines, "", more]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
