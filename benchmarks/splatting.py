"""A frame of Gaussians, without and with gradients: `python -m benchmarks.splatting [--peer-python PYTHON]`.

131,072 Gaussians of GeoLRM's sizes on a shell, 512^2 pixels. PYTHON has PyTorch; the peer
(../shared/peer/geolrm_torch.py) draws the same Gaussians, in turn with ours, each in a process of its own, with one
thread: its threads wait for each other on a machine that others share. Also the operations-only form in graph mode for
8,192 Gaussians at 128^2. Writes benchmarks/splatting.md. Times are the least of several, wall and CPU seconds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

REPO = Path(__file__).resolve().parents[1]
PEER = REPO.parent / "shared" / "peer" / "geolrm_torch.py"
LENS = (1.3888, 1.3888, 0.5, 0.5)  # 39.6 degrees
STAGES = ("frame", "gradients")
GRAPH = "graph, 8,192 at 128^2, with gradients"


def scene(count: int) -> dict[str, np.ndarray]:
    """Gaussians as GeoLRM's head makes them from random numbers, around random points of a sphere."""
    rng = np.random.default_rng(0)

    def share(*shape: int) -> np.ndarray:
        return 1 / (1 + np.exp(-rng.normal(size=shape)))

    direction, rotations = rng.normal(size=(count, 3)), rng.normal(size=(count, 4))
    parts = {
        "means": 0.35 * direction / np.linalg.norm(direction, axis=1, keepdims=True) + 0.1 * (share(count, 3) - 0.5),
        "scales": 0.02 * share(count, 3),
        "rotations": rotations / np.linalg.norm(rotations, axis=1, keepdims=True),
        "opacities": share(count, 1),
        "colors": rng.uniform(0, 1, (count, 3)),
    }
    return {name: part.astype(np.float32) for name, part in parts.items()}


def pose() -> np.ndarray:
    from openlrm.cameras import orbit

    return orbit(0, 20, 1.5)


def measure(stage: str) -> dict:
    """What `timed` finds of ours in this process, and what was counted."""
    import mindspore as ms
    from mindspore import Tensor

    from benchmarks.splatting_peer import timed
    from openlrm.ops import setup_device
    from openlrm.ops.host import splatting as host
    from openlrm.ops.splatting import list_gaussians, splat
    from openlrm.ops.splatting_tiles import TileSplat

    count, size = (8192, (128, 128)) if stage == GRAPH else (131072, (512, 512))
    setup_device("CPU", 0 if stage == GRAPH else 1)
    arrays = tuple(scene(count)[name] for name in host.NAMES)
    tensors, camera, white = [Tensor(array) for array in arrays], (Tensor(pose()), Tensor(LENS, ms.float32)), np.ones(3)
    white = Tensor(white, ms.float32)
    numbers = host.camera_numbers(pose(), np.array(LENS), *size)
    found = {"pairs": host.draw(host.look(arrays, numbers, *size), *size).pairs}
    if stage == GRAPH:
        lists = list_gaussians(*tensors, *camera, size)
        cell = TileSplat(*size, lists.indices.shape[1])
        found["length"] = lists.indices.shape[1]

    def total(*inputs: Tensor) -> Tensor:
        if stage == GRAPH:
            rgb, _, _ = cell(*inputs, lists.camera, lists.indices, white)
        else:
            rgb, _, _ = splat(*inputs, *camera, size, white)
        return (rgb * rgb).sum()

    gradients = ms.grad(total, (0, 1, 2, 3, 4))
    runs = {
        "frame": lambda: splat(*tensors, *camera, size, white)[0].asnumpy(),
        "gradients": lambda: [gradient.asnumpy() for gradient in gradients(*tensors)],
    }
    return found | timed(runs.get(stage, runs["gradients"]), 3 if stage == GRAPH else 10)


def run(command: list[str]) -> dict:
    """The JSON that a process prints last."""
    environment = os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=REPO, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python")
    parser.add_argument("--stage", choices=[*STAGES, GRAPH], help="measure one in this process and print JSON")
    arguments = parser.parse_args()
    if arguments.stage:
        print(json.dumps(measure(arguments.stage)))
        return
    from benchmarks.run import machine

    lines = ["# Frames of Gaussians", "", "By `python -m benchmarks.splatting`: 131,072 Gaussians, 512^2 pixels."]
    lines += ["; ".join(f"{key} {value}" for key, value in machine().items()), ""]
    lines += ["| | ours: wall s | CPU s | GiB | peer, one thread: wall s | CPU s | GiB | CPU, ours / peer |"]
    lines += ["|---|---|---|---|---|---|---|---|"]

    def cells(found: dict) -> str:
        return f"{found['wall']:.3f} | {found['cpu']:.3f} | {found['peak']:.2f}"

    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/scene.npz"
        np.savez(file, c2w=np.concatenate([pose(), [[0, 0, 0, 1]]]), lens=LENS, **scene(131072))
        for stage in STAGES:
            ours = run([sys.executable, "-m", "benchmarks.splatting", "--stage", stage])
            row = f"| {stage} | {cells(ours)} | | | | |"
            if arguments.peer_python:
                script = str(Path(__file__).with_name("splatting_peer.py"))
                peer = run([arguments.peer_python, script, str(PEER), file, stage])
                row = f"| {stage} | {cells(ours)} | {cells(peer)} | 1/{peer['cpu'] / ours['cpu']:.1f} |"
            lines.append(row)
    graph = run([sys.executable, "-m", "benchmarks.splatting", "--stage", GRAPH])
    lines.append(f"| {GRAPH} | {cells(graph)} | | | | |")
    floor = 1e3 * ours["pairs"] / 210e9
    lines += [
        "",
        f"Pairs of a pixel and a Gaussian gone through: {ours['pairs'] / 1e6:.1f} million, in blocks of 8 x 8 pixels",
        "that a Gaussian's box meets and whose pixels are not all finished. At 210 GFLOP/s (both cores) they are",
        f"{20 * floor:.1f} ms forward (20 operations) and {60 * floor:.1f} ms backward (60), without exponentials,",
        f"projection and sort. Lists of the graph mode: {graph['length']} Gaussians a tile.",
    ]
    Path(__file__).with_name("splatting.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
