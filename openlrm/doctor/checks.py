"""Checks of the machine and of the parts around the model."""

from __future__ import annotations

import glob
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from openlrm.doctor.report import Finding, note, ok, problem
from openlrm.utils.hub import first_line

HUB_MODEL = "zxhezexin/openlrm-obj-small-1.1"

_GIGABYTE = 1e9
_HUB_TIMEOUT = 5  # seconds
_RADIUS = 0.6  # of the sphere that is meshed


def check_python() -> Finding:
    """Whether MindSpore has wheels for this Python."""
    if (3, 10) <= sys.version_info < (3, 13):
        return ok(f"{platform.python_version()} ({sys.executable})")
    return problem(f"{platform.python_version()} is not supported", "use Python 3.10, 3.11 or 3.12")


def check_system() -> Finding:
    """Operating system, processor and cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ok(f"{platform.platform()}, {cores} cores")


def check_memory() -> Finding:
    """Memory, with a note when there is less than the small released model is comfortable with."""
    import psutil

    memory = psutil.virtual_memory()
    text = f"{memory.available / _GIGABYTE:.1f} GB free of {memory.total / _GIGABYTE:.1f} GB"
    return ok(text) if memory.available > 2 * _GIGABYTE else note(text, "little for a released model: close programs")


def check_disk() -> Finding:
    """Free space where results are written."""
    free = shutil.disk_usage(".").free / _GIGABYTE
    text = f"{free:.1f} GB free in {Path.cwd()}"
    if free < 0.1:
        return problem(text, "free some space, or work in another folder")
    return ok(text) if free > 5 else note(text, "little for checkpoints of a training run")


def check_writable() -> Finding:
    """Whether results can be written into the current folder."""
    try:
        with tempfile.TemporaryFile(dir="."):
            return ok(f"{Path.cwd()}")
    except OSError as error:
        hint = "work in a folder of yours, or name one with video_dump, mesh_dump or output_path"
        return problem(f"cannot write to {Path.cwd()} ({error.strerror})", hint)


def check_device(device_target: str | None, device_id: int | None = None) -> Finding:
    """Choose the device as the other runners do."""
    from openlrm.ops import setup_device

    device = setup_device(device_target, device_id=device_id)
    return ok(f"{device} ({'asked for' if device_target else 'chosen: the best there is'})")


def check_ascend() -> Finding:
    """What there is of an Ascend: the device files, CANN and the driver's tool."""
    files = glob.glob("/dev/davinci[0-9]*")
    toolkit = next((os.environ[key] for key in ("ASCEND_HOME_PATH", "ASCEND_HOME") if os.environ.get(key)), None)
    tool = shutil.which("npu-smi")
    if files and toolkit:
        return ok(f"{len(files)} NPUs, CANN in {toolkit}")
    if files:
        return note(
            f"{len(files)} NPUs, but ASCEND_HOME_PATH is not set",
            "source set_env.sh of the CANN toolkit (usually /usr/local/Ascend/ascend-toolkit/set_env.sh)",
        )
    if toolkit or tool:
        return note(
            f"no /dev/davinci*, though there is {'CANN in ' + toolkit if toolkit else tool}",
            "npu-smi info shows what the driver sees; a container needs --device=/dev/davinci0 and the like",
        )
    return note("none here; the CPU is used")


def check_speed() -> Finding:
    """Time of a matrix product, the first call and the median of ten."""
    import mindspore as ms

    size = 1024
    matrix = ms.Tensor(np.random.default_rng(0).standard_normal((size, size), np.float32))
    times = []
    for _ in range(11):
        start = time.perf_counter()
        ms.ops.matmul(matrix, matrix).asnumpy()
        times.append(time.perf_counter() - start)
    speed = 2 * size**3 / statistics.median(times[1:]) / 1e9
    return note(f"{speed:.0f} GFLOP/s ({size}^3 product in float32; the first took {1e3 * times[0]:.0f} ms)")


def check_codec() -> Finding:
    """Write a short H.264 video and read it back."""
    import imageio_ffmpeg

    from openlrm.utils.video import VideoWriter

    row = np.linspace(0, 200, 64)
    frames = [np.tile((row + 5 * step)[:, None, None], (1, 64, 3)).astype(np.uint8) for step in range(8)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ramp.mp4")
        with VideoWriter(path, fps=8) as video:
            for frame in frames:
                video.write(frame)
        size = path.stat().st_size
        _, *decoded = imageio_ffmpeg.read_frames(str(path))
    hint = "pip install --force-reinstall imageio-ffmpeg; video_format=gif and png need no ffmpeg"
    if len(decoded) != len(frames):
        return problem(f"{len(frames)} frames were written, {len(decoded)} came back", hint)
    back = np.stack([np.frombuffer(frame, np.uint8).reshape(64, 64, 3) for frame in decoded]).astype(int)
    error = np.abs(back - np.stack(frames)).mean()
    if error > 4:
        return problem(f"the grey levels of a video come back wrong by {error:.1f} of 255 on average", hint)
    return ok(f"8 frames to H.264 ({size} bytes) and back, grey levels within {error:.1f} of 255 on average")


def check_mesh() -> Finding:
    """Mesh a sphere; its volume and its topology are known."""
    from openlrm.geometry.mesh import extract_mesh

    mesh = extract_mesh(
        lambda points: np.maximum(_RADIUS + 1 - np.linalg.norm(points, axis=1), 0),
        lambda points: np.full_like(points, 0.5),
        size=48,
        threshold=1.0,
    )
    a, b, c = (mesh.vertices[mesh.faces[:, corner]].astype(np.float64) for corner in range(3))
    volume = np.einsum("ij,ij->", a, np.cross(b, c)) / 6
    expected = 4 / 3 * np.pi * _RADIUS**3
    # A closed surface of triangles has 3F/2 edges; a sphere's Euler characteristic is 2.
    euler = len(mesh.vertices) - len(mesh.faces) / 2
    if euler != 2 or abs(volume / expected - 1) > 0.01:
        text = f"a sphere of volume {expected:.3f} became a mesh of volume {volume:.3f}, Euler characteristic {euler:g}"
        return problem(text, "pip install --force-reinstall pymcubes")
    return ok(f"sphere: {len(mesh.faces)} faces, closed, volume off by {abs(volume / expected - 1):.1%}")


def check_hub() -> Finding:
    """Whether the hub answers; a note when it does not, since everything works offline too."""
    from huggingface_hub import HfApi, constants

    try:
        HfApi().model_info(HUB_MODEL, timeout=_HUB_TIMEOUT)
    except Exception as error:  # whatever the reason is, it is told and work can go on
        return note(
            f"{constants.ENDPOINT} is not reachable ({first_line(error)})",
            f"HF_ENDPOINT=https://... names a mirror; offline: run 'hf download {HUB_MODEL} --local-dir FOLDER' "
            f"elsewhere and give model_name=FOLDER, or bring its cache and set HF_HOME={constants.HF_HOME}",
        )
    return ok(f"{constants.ENDPOINT} answers; downloads go to {constants.HF_HOME}")
