"""A stand-in for Blender: renders a ball in milliseconds, or does what the object's file tells it to."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, os, signal, subprocess, sys, time
from pathlib import Path

take = {name: sys.argv[sys.argv.index(name) + 1] for name in ("--object_path", "--output_dir", "--uid")}
path, output, uid = Path(take["--object_path"]), Path(take["--output_dir"]), take["--uid"]
here = Path(__file__).parent
act, _, argument = path.read_text().partition(" ")
folder = output / uid
part = folder.with_name(folder.name + ".part")
part.mkdir(parents=True)
with open(here / "begun.log", "a") as log:
    log.write(uid + "\\n")
if act == "bad":
    sys.exit(print("warning: odd\\nerror: cannot be read: x.glb", file=sys.stderr) or 2)
if act == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
if act == "raise":
    raise RuntimeError("our mistake")
if act == "nothing":
    sys.exit(0)
if act == "hang":
    child = subprocess.Popen(["sleep", "60"])
    (here / "child.pid").write_text(str(child.pid))
    time.sleep(60)
if act == "slow":
    time.sleep(float(argument))
if act == "second" and (here / "begun.log").read_text().splitlines().count(uid) == 1:
    sys.exit(print("error: not yet", file=sys.stderr) or 2)

import numpy as np
from PIL import Image

(part / "rgba").mkdir()
(part / "pose").mkdir()
rows, columns = np.mgrid[:64, :64] - 31.5
for view, angle in enumerate([0.0, 1.0, 2.5, 4.0]):
    s, c = np.sin(angle), np.cos(angle)
    pose = np.array([[c, 0, s, 2 * s], [s, 0, -c, -2 * c], [0, 1, 0, 0]])
    ball = (rows**2 + columns**2 < 16**2) * 255
    grey = 0 if act == "black" else 90
    Image.fromarray(np.stack([ball * 0 + grey] * 3 + [ball], -1).astype(np.uint8)).save(part / f"rgba/{view:03d}.png")
    np.save(part / f"pose/{view:03d}.npy", pose)
np.save(part / "intrinsics.npy", np.array([[48.0, 48], [32, 32], [64, 64]]))
asset = {"license": argument} if act == "licensed" else {}
record = {"object": path.name, "asset": asset, "views": 4, "warnings": {}, "settings": {"views": 4}}
(part / "render.json").write_text(json.dumps(record))
os.replace(part, folder)
"""


class Factory:
    """A folder of objects, an output and a program that answers like Blender.

    Attributes:
        objects: folder of 3D files.
        output: folder of rendered objects.
        options: of the runner: those two and the stand-in.
    """

    def __init__(self, folder: Path):
        self.objects, self.output = folder / "objects", folder / "out"
        self.objects.mkdir()
        self.script = folder / "script.py"
        self.script.write_text(SCRIPT)
        self.blender = folder / "blender"
        self.blender.write_text(
            f'#!/bin/sh\n[ "$2" = --version ] && exit 0\nscript="$4"; shift 5; exec {sys.executable} "$script" "$@"\n'
        )
        self.blender.chmod(self.blender.stat().st_mode | stat.S_IXUSR)
        self.options = {
            "input": self.objects,
            "output": self.output,
            "blender": self.blender,
            "script": self.script,
            "workers": 2,
        }

    def add(self, uid: str, act: str = "render") -> Path:
        """Add an object; the stand-in does with it what `act` says."""
        path = self.objects / f"{uid}.glb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(act)
        return path

    def arguments(self, *overrides: str) -> list[str]:
        """Command line of the runner, options given as key=value in place of the usual ones."""
        options = self.options | dict(override.split("=", 1) for override in overrides)
        return ["render.objaverse", *(f"{name}={value}" for name, value in options.items())]

    def begun(self) -> list[str]:
        """Names of the objects that were begun, once for each time."""
        log = self.script.with_name("begun.log")
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def factory(tmp_path):
    return Factory(tmp_path)
