"""The PyTorch peer's frame of Gaussians: `PYTHON benchmarks/splatting_peer.py SCRIPT SCENE STAGE`."""

import importlib.util
import json
import sys
import time
from collections.abc import Callable

import numpy as np


def timed(job: Callable[[], object], repeats: int) -> dict:
    """Least wall seconds and CPU seconds of this process over some runs after one that warms up; peak memory in GiB."""
    walls, processors = [], []
    job()
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        job()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    with open("/proc/self/status", encoding="ascii") as lines:
        peak = next(int(line.split()[1]) / 2**20 for line in lines if line.startswith("VmHWM"))
    return {"wall": min(walls), "cpu": min(processors), "peak": peak}


def measure(script: str, scene: str, stage: str) -> dict:
    """What `timed` finds."""
    import torch

    spec = importlib.util.spec_from_file_location("peer_model", script)
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    with np.load(scene) as arrays:
        parts = {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
    fx, fy, cx, cy = parts["lens"].tolist()
    lens = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    inputs = [parts[name] for name in ("means", "opacities", "scales", "rotations", "colors")]

    def frame() -> None:
        with torch.no_grad():
            peer.rasterize(*inputs, parts["c2w"], lens, 512, 512)

    def gradients() -> None:
        free = [part.clone().requires_grad_() for part in inputs]
        peer.rasterize(*free, parts["c2w"], lens, 512, 512)[0].square().sum().backward()

    return timed({"frame": frame, "gradients": gradients}[stage], 2)


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
