"""What a device does with this program: a report to attach to a bug report, made in under 20 minutes on one NPU.

Every part is asked whatever became of the one before; a part that a device cannot do is an entry of the report.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from openlrm.doctor.acceptance_parts import (
    TRAINING_OPTIONS,
    count_npus,
    exact_attention,
    golden_scene,
    measure,
    relative,
    ring,
    usual_density,
    write_object,
)
from openlrm.errors import UserError
from openlrm.reports import markup
from openlrm.utils.paths import atomic_path

CURVE = "golden_curve.json"
"""Beside the golden numbers: losses of twenty steps on a CPU in float32."""

# PyTorch's own float32 leaves its float64 by 2e-3 within twenty steps from these weights; other kernels by a few times
# that.
CURVE_TOLERANCE = 1e-2

PUBLISHED = {"small": (0.72, 2.19, 2.00), "base": (None, 0.98, 2.63), "large": (0.92, 0.37, 3.12)}
"""Picture to 3D in seconds (published as 0.72 to 0.92 for the three), frames a second, seconds a step, on a 910*."""

_VARIABLES = ("ASCEND", "MS_", "HCCL", "GLOG", "MINDSPORE", "DEVICE_ID", "RANK")
# Of the largest entry: a rounding of inputs, probabilities and result each, and scores of about four.
_ATTENTION = {"float32": 1e-5, "float16": 6 * 2.0**-11, "bfloat16": 6 * 2.0**-8}
_LEVELS = (("O0", "fp32"), ("O1", "bf16"), ("O1", "fp16"), ("O2", "bf16"), ("O2", "fp16"))


@dataclass
class Entry:
    """One thing that was looked at.

    Attributes:
        part: of the report.
        name: of the thing.
        status: "ok", "problem", or "none": the device or this version does not have it.
        text: what was found.
        figures: its numbers.
        seconds: it took.
    """

    part: str
    name: str
    status: str
    text: str
    figures: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Sizes:
    """What is asked of a device.

    Attributes:
        queries: tokens that ask, in attention.
        keys: tokens that are asked.
        heads: of attention.
        kinds: models that are timed.
        levels: of precision in training, each an `amp_level` and a `dtype`.
        steps: of the curve.
        frame: side of a frame in pixels.
        mesh: grid points a side.
        modes: execution modes of the golden numbers, 1 PyNative and 0 graph.
        workers: of the training command, once more; 1 leaves that out.
    """

    queries: int = 3072
    keys: int = 1025
    heads: int = 16
    kinds: tuple[str, ...] = ("small", "base", "large")
    levels: tuple[tuple[str, str], ...] = _LEVELS
    steps: int = 20
    frame: int = 192
    mesh: int = 256
    modes: tuple[int, ...] = (1, 0)
    workers: int = 1


SMALL = Sizes(96, 40, 2, (), (_LEVELS[0], _LEVELS[3]), 3, 16, 24, (1,))
"""For a CPU, where the same is asked at sizes that take a minute or two."""


def sizes_of(device: str) -> Sizes:
    """What a device is asked."""
    return {"CPU": SMALL}.get(device) or Sizes(workers=min(2, count_npus()))


class Acceptance:
    """Goes through everything.

    Args:
        device: "Ascend" or "CPU", as it is set up.
        folder: for pictures and scratch files.
        sizes: of what is asked.
    """

    def __init__(self, device: str, folder: Path, sizes: Sizes):
        self.device, self.folder, self.sizes = device, folder, sizes
        self.entries: list[Entry] = []

    def run(self) -> list[Entry]:
        """Ask; entries are printed as they come."""
        from openlrm.families.lrm.golden_check import STAGES

        for mode in self.sizes.modes:
            for stage in STAGES:
                self.ask("golden numbers", f"{stage}, {('graph', 'PyNative')[mode]}", self.golden, stage, mode)
        for dtype in _ATTENTION:
            self.ask("attention", dtype, self.attention, dtype)
        self.ask("training curve", f"{self.sizes.steps} steps", self.curve)
        self.ask("frame and mesh", "golden model", self.scene)
        for level, dtype in self.sizes.levels:
            self.ask("training command", f"{level} {dtype}", self.training, level, dtype)
        if self.sizes.workers > 1:
            self.ask("training command", "several devices", self.training, "O0", "fp32", self.sizes.workers)
        for kind in self.sizes.kinds:
            self.ask("performance", kind, self.performance, kind)
        return self.entries

    def ask(self, part: str, name: str, question: Callable[..., Entry | tuple], *arguments: Any) -> None:
        """Put one question; what it raises is its answer."""
        start = time.perf_counter()
        try:
            status, text, figures = question(*arguments)
        except UserError as error:
            status, text, figures = "none", str(error), {}
        except Exception as error:
            first = (str(error).strip().splitlines() or ["no message"])[0]
            status, text, figures = "problem", f"{type(error).__name__}: {first}", {}
        entry = Entry(part, name, status, text, figures, time.perf_counter() - start)
        self.entries.append(entry)
        print(f"{status:8} {part}: {name:32} {text}", flush=True)

    def golden(self, stage: str, mode: int):
        """The published implementation's numbers in float32."""
        from openlrm.families.lrm.golden_check import FOLDER, GoldenCase, check_stage
        from openlrm.ops import setup_device

        setup_device(self.device, mode)
        try:
            worst, difference, allowed = check_stage(GoldenCase(FOLDER), stage)
        finally:
            setup_device(self.device, 1)
        figures = {"difference": difference, "allowed": allowed}
        told = f"{worst} differs by {difference:.1e}, {allowed:.0e} allowed"
        return _verdict(difference <= allowed, told, figures)

    def attention(self, name: str):
        """Attention in a format and its gradients against the definition in float64."""
        import mindspore as ms

        from openlrm.ops import attention

        sizes, dtype = self.sizes, getattr(ms, name)
        width, random = 64 * sizes.heads, np.random.default_rng(0)
        shapes = [(1, sizes.queries, width), (1, sizes.keys, width), (1, sizes.keys, width), (1, sizes.queries, width)]
        arrays = [random.standard_normal(shape, np.float32) for shape in shapes]
        q, k, v, dout = map(ms.Tensor, arrays)

        def loss(q, k, v):
            out = attention(q.astype(dtype), k.astype(dtype), v.astype(dtype), sizes.heads).astype(ms.float32)
            return (out * dout).sum(), out

        try:
            # Without a gradient: after an error inside one MindSpore 2.10 computes nothing right any more.
            loss(q, k, v)[1].asnumpy()
        except (TypeError, RuntimeError) as error:
            raise UserError(f"no attention in {name} here ({str(error).strip().splitlines()[0]})") from error
        gradient = ms.value_and_grad(loss, (0, 1, 2), has_aux=True)
        (_, out), gradients = gradient(q, k, v)
        results = [x.asnumpy() for x in (out, *gradients)]
        start = time.perf_counter()
        (_, out), gradients = gradient(q, k, v)
        gradients[0].asnumpy()
        seconds = time.perf_counter() - start
        differences = [relative(a, b) for a, b in zip(results, exact_attention(*arrays, sizes.heads), strict=True)]
        figures = dict(zip(("out", "dq", "dk", "dv"), differences, strict=True)) | {"seconds": seconds}
        told = f"differs by {max(differences):.1e}, {_ATTENTION[name]:.0e} allowed; {1e3 * seconds:.1f} ms"
        return _verdict(max(differences) <= _ATTENTION[name], told, figures)

    def curve(self):
        """Training steps against those of a CPU in float32."""
        from openlrm.families.lrm.golden_check import FOLDER, GoldenCase, golden_curve

        expected = np.array(json.loads((FOLDER / CURVE).read_text()))[: self.sizes.steps]
        losses = golden_curve(GoldenCase(FOLDER), self.sizes.steps)
        deviation = float(np.abs(losses / expected - 1).max())
        told = f"losses differ by {deviation:.1e} at most, {CURVE_TOLERANCE:.0e} allowed"
        return _verdict(deviation <= CURVE_TOLERANCE, told, {"losses": losses.tolist(), "deviation": deviation})

    def scene(self):
        """A frame, a mesh, and views to train on, of the golden model."""
        from openlrm.families.lrm.golden_check import FOLDER
        from openlrm.utils.images import save_image, to_uint8

        scene, cameras = golden_scene(FOLDER), ring()
        start = time.perf_counter()
        views = list(scene.views(cameras, self.sizes.frame))
        frame_seconds = (time.perf_counter() - start) / len(views)
        save_image(self.folder / "frame.png", to_uint8(views[0].rgb))
        mesh = scene.mesh(self.sizes.mesh, usual_density(scene))
        write_object(self.folder / "data", views, cameras)
        figures = {"frame_seconds": frame_seconds, "vertices": len(mesh.vertices)}
        finite = all(np.isfinite(view.rgb).all() for view in views) and len(mesh.vertices) > 0
        told = f"{1 / frame_seconds:.2f} frames/s, a mesh of {len(mesh.vertices)} vertices"
        return _verdict(finite, told, figures)

    def training(self, level: str, dtype: str, workers: int = 1):
        """`train.lrm` as a user types it, two steps of a small model."""
        root, output = self.folder / "data", self.folder / f"run-{level}-{dtype}-{workers}"
        command = [sys.executable, "-m", "openlrm.launch", "train.lrm", *TRAINING_OPTIONS]
        command += [f"data.subsets=[{{root_dirs: [{json.dumps(str(root))}]}}]", f"saver.output_path={output}"]
        command += [f"train.precision.amp_level={level}", f"train.precision.dtype={dtype}"]
        command += [f"device_target={self.device}"]
        if workers > 1:
            start = ["msrun", f"--worker_num={workers}", f"--local_worker_num={workers}", "--join=True"]
            command = [*start, f"--log_dir={output}-logs", *command]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode == 2:
            raise UserError((done.stderr.strip().splitlines() or ["refused"])[-1])
        figures = {"exit_code": done.returncode, "last_lines": done.stderr.strip().splitlines()[-5:]}
        return _verdict(done.returncode == 0, f"exit code {done.returncode}", figures)

    def performance(self, kind: str):
        """Picture to planes, frames and steps of a model of a released size with random weights."""
        figures = measure(kind)
        published = dict(zip(("planes", "frames", "step"), PUBLISHED.get(kind, (None,) * 3), strict=True))
        told = f"{figures['planes']:.2f} s to planes, {figures['frames']:.2f} frames/s, {figures['step']:.2f} s a step"
        return "ok", told, figures | {"published_910": published}


def facts(device: str) -> dict[str, Any]:
    """Versions, machine and environment variables that matter."""
    names = ("openlrm-mindspore", "mindspore", "numpy", "numba")
    known = {"device": device, "python": platform.python_version(), "platform": platform.platform()}
    known |= {name: _version(name) for name in names} | {"npus": count_npus()}
    return known | {key: os.environ[key] for key in sorted(os.environ) if key.startswith(_VARIABLES)}


def write(folder: Path, known: dict[str, Any], entries: Sequence[Entry]) -> None:
    """`folder`/acceptance.json and `folder`/acceptance.html."""
    rows = [(f"{e.part}: {e.name}", f"{e.status}: {e.text} ({e.seconds:.1f} s)") for e in entries]
    frame = folder / "frame.png"
    parts = [
        markup.note("Attach this page and acceptance.json to a report."),
        markup.table(["what", "found"], rows, words=True),
        markup.picture(frame, 400, "A frame of the golden model, whose weights are random") if frame.is_file() else "",
        markup.heading("Machine"),
        markup.table([], known.items(), words=True),
    ]
    whole = {"facts": known, "entries": [asdict(entry) for entry in entries]}
    with atomic_path(folder / "acceptance.json") as path:
        path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    with atomic_path(folder / "acceptance.html") as path:
        path.write_text(markup.page(f"Acceptance on {known['device']}", parts), encoding="utf-8")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _verdict(good: bool, text: str, figures: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    return ("ok" if good else "problem"), text, figures
