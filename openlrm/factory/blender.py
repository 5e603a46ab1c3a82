"""Find a Blender that works, and what it is to run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from openlrm.errors import UserError

SCRIPT = Path(__file__).resolve().parent / "blender_scripts" / "blender_script.py"
"""What Blender's own Python runs: files beside each other, which import nothing of this package."""

_HINT = "pip install bpy with Python 3.11, or give blender=/path/to/blender (or a Python that has bpy)"
_SECONDS = 120


def find_script(path: str | None) -> Path:
    """Return the Blender script: the given one, or this package's.

    Raises:
        UserError: it is not there.
    """
    script = Path(path) if path else SCRIPT
    if not script.is_file():
        raise UserError("no Blender script", script, f"leave script out, or give one like {SCRIPT}")
    return script.resolve()


def find_blender(path: str | None, script: Path) -> list[str]:
    """Return the command that runs the script, up to the script's own arguments.

    Args:
        path: Blender's executable, or a Python that has the bpy module; without it this Python if it has bpy, else
            `blender` on the PATH.
        script: from `find_script`.

    Raises:
        UserError: there is no such program.
    """
    if path is None:
        path = sys.executable if importlib.util.find_spec("bpy") else "blender"
    program = shutil.which(path)
    if program is None:
        raise UserError("no Blender", path, _HINT)
    if os.path.basename(program).startswith("python"):
        return [program, str(script)]
    return [program, "-b", "--factory-startup", "-P", str(script), "--"]


def check_blender(command: list[str]) -> None:
    """Start it once, so that a broken installation is told before thousands of objects fail.

    Raises:
        UserError: it does not start.
    """
    program = command[0]
    probe = [program, "-c", "import bpy"] if len(command) == 2 else [program, "-b", "--version"]
    try:
        done = subprocess.run(probe, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"Blender does not start ({error})", program, _HINT) from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise UserError(f"Blender does not start ({said})", program, _HINT)
