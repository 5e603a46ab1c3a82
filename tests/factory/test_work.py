"""One object in a process of its own, with a stand-in for Blender."""

import hashlib
import os
import sys
import time

import pytest

from openlrm.errors import UserError
from openlrm.factory.blender import check_blender, find_blender, find_script
from openlrm.factory.work import Job, is_complete, render_one


@pytest.fixture
def render(factory):
    def run(act: str, seconds: float = 20.0, uid: str = "a"):
        path = factory.add(uid, act)
        command = (sys.executable, str(factory.script))
        return render_one(Job(uid, str(path), str(factory.output), command, 1, seconds))

    return run


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_done(render, factory):
    result = render("render", uid="group/a")
    assert (result.state, result.reason) == ("done", "")
    assert is_complete(factory.output, "group/a")
    assert result.sha256 == hashlib.sha256(b"render").hexdigest()
    assert 0 < result.seconds < 20 and result.host
    assert result.stats["distance"] == [2, 2]
    # A disc of radius 16 in 64 x 64 pixels, of grey 90.
    assert result.stats["coverage"] == pytest.approx(3.1416 * 16**2 / 64**2, rel=0.02)
    assert result.stats["luminance"] == pytest.approx(90 / 255, abs=1e-3)


def test_flagged(render):
    result = render("black")
    assert (result.state, result.reason.partition(":")[0]) == ("flagged", "black")


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("bad", "cannot be read: x.glb"),
        ("crash", "Blender was killed by SIGSEGV"),
        ("raise", "exit code 1: RuntimeError: our mistake"),
        ("nothing", "nothing was written: it said nothing"),
    ],
)
def test_failed(render, factory, act, reason):
    result = render(act)
    assert (result.state, result.reason) == ("failed", reason)
    assert list(factory.output.iterdir()) == []


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc to look for processes in")
def test_time_limit_ends_the_whole_group(render, factory):
    start = time.monotonic()
    result = render("hang", seconds=1.0)
    assert (result.state, result.reason) == ("failed", "took longer than 1 s")
    assert time.monotonic() - start < 10
    assert list(factory.output.iterdir()) == []
    child = int(factory.script.with_name("child.pid").read_text())
    for _ in range(50):
        if not alive(child):
            break
        time.sleep(0.05)
    assert not alive(child)


def test_no_program(factory):
    path = factory.add("a")
    result = render_one(Job("a", str(path), str(factory.output), ("/no/such/program",), 1, 5))
    assert result.state == "failed" and "FileNotFoundError" in result.reason


class TestBlender:
    def test_an_executable(self, factory):
        command = find_blender(str(factory.blender), factory.script)
        assert command == [str(factory.blender), "-b", "--factory-startup", "-P", str(factory.script), "--"]
        check_blender(command)

    def test_a_python(self, factory):
        assert find_blender(sys.executable, factory.script) == [sys.executable, str(factory.script)]

    def test_the_default_is_bpy_or_blender(self, factory, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "bpy" or None)
        assert find_blender(None, factory.script)[0] == sys.executable
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        monkeypatch.setenv("PATH", str(factory.blender.parent))
        assert find_blender(None, factory.script)[0] == str(factory.blender)

    def test_none(self, factory, tmp_path):
        with pytest.raises(UserError, match="pip install bpy"):
            find_blender(str(tmp_path / "blender-9"), factory.script)
        with pytest.raises(UserError, match="no Blender script"):
            find_script(str(tmp_path / "none.py"))

    def test_a_broken_one(self, factory):
        factory.blender.write_text("#!/bin/sh\necho libGL.so.1 is missing >&2\nexit 127\n")
        with pytest.raises(UserError, match=r"does not start \(libGL.so.1 is missing\)"):
            check_blender(find_blender(str(factory.blender), factory.script))
