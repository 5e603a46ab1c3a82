"""Compiled loops on the disk: found again, made anew when a source changes, and working where none can be kept."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import openlrm
from openlrm.utils import compiled as module
from openlrm.utils.compiled import source_files

REPO = Path(__file__).resolve().parents[2]

LOOPS = """
from openlrm.utils.compiled import compiled
from shapes.middle import twice

@compiled()
def area(width):
    return twice(width)
"""
MIDDLE = """
from numba import njit
from shapes import deepest
from shapes.constants import OFFSET

@njit
def twice(x):
    return 2 * x + OFFSET + deepest.three(x)
"""
DEEPEST = """
from numba import njit

@njit
def three(x):
    return 0 * x + 3
"""
RUN = "from shapes.loops import area; print(area(10.0), sum(area.stats.cache_hits.values()))"


@pytest.fixture
def shapes(tmp_path):
    """A package of loops in four files, and an environment in which only their own folder can be written to."""
    folder = tmp_path / "shapes"
    folder.mkdir()
    files = {"loops": LOOPS, "middle": MIDDLE, "deepest": DEEPEST, "constants": "OFFSET = 100\n", "other": "X = 1\n"}
    for name, text in {"__init__": "", **files}.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    (tmp_path / "temporary").mkdir()
    return folder


def environment(shapes: Path, **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    paths = f"{shapes.parent}{os.pathsep}{REPO}"
    temporary = str(shapes.parent / "temporary")
    return {
        **kept,
        "PYTHONPATH": paths,
        "HOME": "/dev/null",
        "TMPDIR": temporary,
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }


def run(shapes: Path, **more: str) -> tuple[list[float], str]:
    """Result and cache hits of `RUN` in a new process, and its log."""
    command, env = [sys.executable, "-c", RUN], environment(shapes, **more)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=shapes.parent)
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()], done.stderr


def forbid(shapes: Path) -> None:
    """A file where the folder of the cache would be: not even root can write there."""
    shutil.rmtree(shapes / "__pycache__", ignore_errors=True)
    (shapes / "__pycache__").write_text("", encoding="utf-8")


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_found_again(shapes):
    assert run(shapes) == ([123, 0], "")
    assert run(shapes) == ([123, 1], "")
    assert list((shapes / "__pycache__").glob("loops.area*.nbc"))


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("loops", "twice(width)", "twice(width) + 1", 124),
        ("middle", "2 * x", "4 * x", 143),
        ("deepest", "+ 3", "+ 5", 125),
        ("constants", "100", "200", 223),
    ],
)
def test_a_source_that_changes(shapes, file, old, new, expected):
    run(shapes)
    edit(shapes / f"{file}.py", old, new)
    assert run(shapes)[0] == [expected, 0]


def test_a_source_that_is_not_used(shapes):
    run(shapes)
    edit(shapes / "other.py", "1", "2")
    assert run(shapes)[0] == [123, 1]


@pytest.mark.parametrize(
    ("kind", "content"), [("nbi", b""), ("nbi", b"\x80\x04cno.such\nmodule\n."), ("nbc", b"not a pickle")]
)
def test_a_damaged_file(shapes, kind, content):
    run(shapes)
    (file,) = (shapes / "__pycache__").glob(f"*.{kind}")
    file.write_bytes(content)
    assert run(shapes) == ([123, 0], "")
    assert run(shapes) == ([123, 1], "")


def test_a_folder_of_ones_own_choice(shapes):
    chosen = shapes.parent / "chosen"
    assert run(shapes, NUMBA_CACHE_DIR=str(chosen)) == ([123, 0], "")
    assert list(chosen.rglob("*.nbc")) and not (shapes / "__pycache__").exists()
    assert run(shapes, NUMBA_CACHE_DIR=str(chosen)) == ([123, 1], "")


def test_the_user_s_folder(shapes):
    forbid(shapes)
    assert run(shapes, HOME=str(shapes.parent)) == ([123, 0], "")
    assert run(shapes, HOME=str(shapes.parent)) == ([123, 1], "")


def test_package_and_home_that_are_read_only(shapes):
    forbid(shapes)
    result, log = run(shapes)
    assert result == [123, 0]
    assert len(log.splitlines()) == 1 and "NUMBA_CACHE_DIR" in log
    (folder,) = (shapes.parent / "temporary").glob("openlrm-loops-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert run(shapes) == ([123, 1], ""), "found again, and nothing to say"


def test_a_temporary_folder_that_others_can_write_to(shapes):
    """What is read from the cache is run: not what someone else may have put there."""
    forbid(shapes)
    run(shapes)
    (folder,) = (shapes.parent / "temporary").glob("openlrm-loops-*")
    folder.chmod(0o777)
    result, log = run(shapes)
    assert result == [123, 0] and "anew" in log


def test_nowhere_to_write(shapes):
    forbid(shapes)
    (shapes.parent / "temporary" / f"openlrm-loops-{os.getuid()}").write_text("", encoding="utf-8")
    result, log = run(shapes)
    assert result == [123, 0]
    assert len(log.splitlines()) == 1 and "anew" in log


def test_read_where_nothing_can_be_written(shapes, monkeypatch, caplog):
    """An image of a container whose loops were compiled when it was built."""
    monkeypatch.syspath_prepend(shapes.parent)
    run(shapes)
    monkeypatch.setattr(module._Cache, "_store", lambda *_: False)
    area = importlib.import_module("shapes.loops").area
    assert area(10.0) == 123
    assert sum(area.stats.cache_hits.values()) == 1 and not caplog.records


def test_the_sources_of_a_kernel():
    folder = Path(openlrm.__file__).parent
    importlib.import_module("openlrm.ops.host.panels")
    found = {path.name for path in source_files(str(folder / "ops/host/panels.py"), "openlrm.ops.host.panels")}
    assert {"panels.py", "layers.py", "functions.py", "tiles.py"} <= found
    assert not {"__init__.py", "compiled.py", "logging.py"} & found


def test_an_edited_helper_in_a_copy_of_the_package(tmp_path):
    """The loop in ops/host/layers.py, whose exponential comes from ops/host/functions.py."""
    shutil.copytree(REPO / "openlrm", tmp_path / "openlrm", ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import numpy as np; from openlrm.ops.host.layers import gelu; x = np.full(4, 1, np.float32)\n"
        "gelu(x, x); print(x[0], sum(gelu.stats.cache_hits.values()))"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "kept")}

    def ask() -> list[float]:
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, cwd=tmp_path)
        return [float(word) for word in done.stdout.split()]

    value, hits = ask()
    assert value == pytest.approx(0.841345, abs=1e-5) and hits == 0
    assert ask() == [value, 1]
    edit(tmp_path / "openlrm/ops/host/functions.py", "power_of_two(x * LOG2_E)", "power_of_two(x * LOG2_E) * f32(0)")
    assert ask() == [1, 0]
