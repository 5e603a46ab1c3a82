"""Both engines do the same work; what is not waited for leaves nothing behind."""

import importlib
import importlib.util
import signal
import sys
import time

import pytest

from openlrm.errors import UserError
from openlrm.factory.engines import render_locally, render_on_ray
from openlrm.factory.work import Job

HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.fixture
def jobs(factory):
    def make(acts: dict[str, str], seconds: float = 30.0) -> list[Job]:
        factory.output.mkdir(exist_ok=True)
        command = (str(factory.blender), "-b", "-f", "-P", str(factory.script), "--")
        return [
            Job(uid, str(factory.add(uid, act)), str(factory.output), command, 1, seconds) for uid, act in acts.items()
        ]

    return make


def test_locally(jobs, factory):
    acts = {"a": "render", "b": "bad", "c": "render", "d": "crash", "e": "black"}
    found = {result.uid: result.state for result in render_locally(jobs(acts), 2)}
    assert found == {"a": "done", "b": "failed", "c": "done", "d": "failed", "e": "flagged"}
    assert sorted(factory.begun()) == list(acts)
    assert sorted(path.name for path in factory.output.iterdir()) == ["a", "c", "e"]


def test_locally_at_a_time(jobs, factory):
    """Two workers: the slow one holds up neither the others nor their results."""
    results = render_locally(jobs({"slow": "slow 3", "a": "render", "b": "render"}), 2)
    assert [result.uid for result in results] == ["a", "b", "slow"]


def test_closing_ends_what_runs(jobs, factory):
    results = render_locally(jobs({"a": "render", "b": "slow 60", "c": "render", "d": "slow 60", "e": "render"}), 2)
    assert next(results).uid == "a"
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 10
    assert [path.name for path in factory.output.iterdir() if path.name.endswith(".part")] == []
    assert "e" not in factory.begun()


def test_nothing_to_do(jobs):
    assert list(render_locally([], 2)) == list(render_on_ray([], None, 1)) == []


def test_without_ray(jobs, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="engine=ray needs ray"):
        next(render_on_ray(jobs({"a": "render"}), None, 1))


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="ray is not installed")
def test_on_ray(jobs, factory):
    """A cluster of one CPU: the same states as locally, and an end that leaves nothing."""
    handler = signal.getsignal(signal.SIGTERM)
    results = render_on_ray(jobs({"a": "render", "b": "bad", "c": "slow 60"}), None, 1)
    found = {result.uid: result for result in (next(results), next(results))}
    assert {uid: (result.state, result.reason) for uid, result in found.items()} == {
        "a": ("done", ""),
        "b": ("failed", "cannot be read: x.glb"),
    }
    assert found["a"].stats["distance"] == [2, 2]
    assert signal.getsignal(signal.SIGTERM) is handler
    end = time.monotonic() + 20
    while "c" not in factory.begun() and time.monotonic() < end:
        time.sleep(0.05)
    results.close()
    assert sorted(path.name for path in factory.output.iterdir()) == ["a"]
    assert "c" in factory.begun()
    assert not importlib.import_module("ray").is_initialized()
