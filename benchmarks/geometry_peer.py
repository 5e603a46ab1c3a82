"""Times surfaces of the PyTorch peer: `PYTHON benchmarks/geometry_peer.py SCRIPT GRID`, where PYTHON has PyTorch.

SCRIPT is the peer's file, GRID what `benchmarks.geometry` wrote. Prints figures as JSON.
"""

import importlib.util
import json
import sys
import time
from collections.abc import Callable

import numpy as np


def least_time(job: Callable[[], object], repeats: int = 5) -> dict[str, float]:
    """Least milliseconds of the clock and of the processors over some runs after one that warms up."""
    job()
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        job()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"wall": 1000 * min(walls), "cpu": 1000 * min(cpus)}


def measure(script: str, grid: str) -> dict:
    """Figures of `benchmarks.geometry`, and the number of faces."""
    import torch

    spec = importlib.util.spec_from_file_location("peer_model", script)
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    with np.load(grid) as arrays:
        sdf, points, weights, w2c = (torch.from_numpy(arrays[name]) for name in ("sdf", "points", "weights", "w2c"))
        fov, size = float(arrays["fov"]), int(arrays["size"])
    resolution = tuple(n - 1 for n in sdf.shape)
    sdf, points = sdf.reshape(-1), points.reshape(-1, 3)

    def surface(training=False):
        return peer.flexicubes(points, sdf, weights, resolution, training=training)

    def buffers(smooth=False):
        return peer.buffers(vertices, faces, w2c, fov, size, smooth=smooth)

    def backward(run):
        for leaf in leaves:
            leaf.grad = None
        run().backward()

    def surface_loss():
        found = surface(training=True)
        return (found[0] ** 2).mean() + found[2].mean()

    with torch.no_grad():
        vertices, faces, *_ = surface()
        figures = {
            "flexicubes": least_time(surface),
            "frame": least_time(buffers),
            "smooth": least_time(lambda: buffers(True)),
        }
    leaves = [tensor.requires_grad_() for tensor in (sdf, points, weights)]
    figures["flexicubes_grad"] = least_time(lambda: backward(surface_loss))
    leaves = [vertices.requires_grad_()]
    figures["frame_grad"] = least_time(lambda: backward(lambda: sum((b**2).mean() for b in buffers(True))))
    return figures | {"faces": len(faces)}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
