"""Surfaces against the PyTorch peer and against the truth: `python -m benchmarks.geometry --peer-python PATH`.

Writes benchmarks/geometry.md: how near FlexiCubes' meshes of known solids come (beside scikit-image's marching cubes),
and milliseconds of FlexiCubes and of a 512^2 frame, ours and the peer's in turn, each in a process of its own.
`--only-ours GRID` is what those processes run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.geometry_peer import least_time
from benchmarks.run import machine
from benchmarks.worker import REPO

HERE = Path(__file__).resolve().parent
PEER = HERE.parents[1] / "shared" / "peer" / "instantmesh_torch.py"
RESOLUTION, FOV, SIZE = 128, 30.0, 512
# Title, and what ours may take of the peer's.
FIGURES = {
    "flexicubes": ("FlexiCubes, distances, offsets and weights given", 1 / 3),
    "flexicubes_grad": ("the same for training, with L_dev and gradients", None),
    "frame": (f"frame {SIZE}^2: mask, depth, normal, position", 1 / 4),
    "smooth": ("the same with antialiased silhouettes", None),
    "frame_grad": ("the same with the gradient of the vertices", None),
}


def fields() -> dict[str, np.ndarray]:
    """A ball, and a low-frequency random field with a tenth of the cube inside: more surface than most objects."""
    from scipy.ndimage import zoom

    from openlrm.geometry import grid_points
    from openlrm.geometry.shapes import ball

    points = grid_points((RESOLUTION,) * 3, 2.1)
    random = zoom(np.random.default_rng(0).normal(size=(9, 9, 9)), (RESOLUTION + 1) / 9, order=3)
    return {"ball of radius 0.7": ball(0.7)(points), "random field": random - np.quantile(random, 0.1)}


def write_grid(sdf: np.ndarray, path: Path) -> int:
    """What both programs are given; returns the number of surface cubes."""
    from openlrm.cameras import orbit
    from openlrm.cameras.conventions import to_homogeneous
    from openlrm.geometry import find_topology, grid_points

    rng = np.random.default_rng(1)
    sdf = np.ascontiguousarray(sdf, np.float32)
    cubes = len(find_topology(sdf).cubes)
    points = grid_points((RESOLUTION,) * 3, 2.1)
    moved = points + rng.uniform(-1, 1, points.shape).astype(np.float32) / (4 * RESOLUTION)
    weights = 0.1 * rng.normal(size=(cubes, 21)).astype(np.float32)
    w2c = np.linalg.inv(to_homogeneous(orbit(0.0, 20.0, 4.5)))
    np.savez(path, sdf=sdf, points=moved, weights=weights, w2c=w2c.astype(np.float32), fov=FOV, size=SIZE)
    return cubes


def measure(grid: str) -> dict:
    """Milliseconds of each figure of `FIGURES`, and the number of faces."""
    import mindspore as ms
    from mindspore import Tensor

    from openlrm.geometry import flexicubes, render_surface
    from openlrm.ops import setup_device

    setup_device("CPU", 1)
    with np.load(grid) as arrays:
        given = tuple(Tensor(arrays[name]) for name in ("sdf", "weights", "points"))
        w2c, size = arrays["w2c"][None], (int(arrays["size"]),) * 2
        focal = 0.5 / np.tan(np.radians(float(arrays["fov"])) / 2)
    lens = np.array([focal, focal, 0.5, 0.5])
    mesh = flexicubes(*given)

    def frame(vertices=mesh.vertices, antialias=True):
        return render_surface(vertices, mesh.faces, w2c, lens, size, antialias=antialias)

    def surface_loss(*given):
        found = flexicubes(*given, training=True)
        return (found.vertices**2).mean() + found.deviations.mean()

    def frame_loss(vertices):
        seen = frame(vertices)
        return sum((picture**2).mean() for picture in (seen.position, seen.mask, seen.depth, seen.normal))

    of_surface, of_frame = ms.grad(surface_loss, (0, 1, 2)), ms.grad(frame_loss)
    figures = {
        "flexicubes": least_time(lambda: flexicubes(*given)),
        "flexicubes_grad": least_time(lambda: of_surface(*given)),
        "frame": least_time(lambda: frame(antialias=False)),
        "smooth": least_time(frame),
        "frame_grad": least_time(lambda: of_frame(mesh.vertices)),
    }
    return figures | {"faces": len(mesh.faces)}


def figures_of(command: list[str], threads: int | None) -> dict:
    """What a process with so many threads prints; None: as many as it likes."""
    limits = {} if threads is None else dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
    out = subprocess.run(command, cwd=REPO, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | limits)
    return json.loads(out.stdout.splitlines()[-1])


def compare(python: str, script: Path) -> list[str]:
    """Table of both programs' milliseconds."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for name, sdf in fields().items():
            grid = Path(folder) / "grid.npz"
            cubes = write_grid(sdf, grid)
            commands = (
                [sys.executable, "-m", "benchmarks.geometry", "--only-ours", str(grid)],
                [python, str(HERE / "geometry_peer.py"), str(script), str(grid)],
            )
            alone, free = ([figures_of(command, threads) for command in commands] for threads in (1, None))
            faces, peer_faces = (found["faces"] for found in alone)
            lines += ["", f"{name}: {cubes:,} surface cubes, {faces:,} faces (peer {peer_faces:,})", ""]
            lines += [
                "| ms | ours, CPU of one thread | peer | ratio | ours, wall, all cores | peer | ratio | at most |"
            ]
            lines += ["|---|---|---|---|---|---|---|---|"]
            for key, (title, most) in FIGURES.items():
                cells = [title]
                for found, kind in ((alone, "cpu"), (free, "wall")):
                    ours, peer = (figures[key][kind] for figures in found)
                    cells += [f"{ours:.1f}", f"{peer:.1f}", f"{ours / peer:.2f}"]
                lines.append(f"| {' | '.join(cells)} | {'' if most is None else f'{most:.2f}'} |")
    return lines


def solids() -> list[str]:
    """Table of known solids: topology, volume, farthest vertex; ours and scikit-image's marching cubes."""
    import trimesh
    from skimage.measure import marching_cubes

    from openlrm.geometry import flexicubes, grid_points
    from openlrm.geometry.shapes import SOLIDS

    lines = ["| solid | cubes a side | closed | Euler | volume | marching cubes' | farthest vertex | marching cubes' |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for name, solid in SOLIDS.items():
        for resolution in (32, 64, 128):
            sdf = solid.distance(grid_points((resolution,) * 3, 2.0)).astype(np.float32)
            found = flexicubes(sdf)
            ours = trimesh.Trimesh(found.vertices.asnumpy(), found.faces, process=False)
            vertices, faces, *_ = marching_cubes(sdf, 0)
            theirs = trimesh.Trimesh(vertices * 2 / resolution - 1, faces[:, ::-1], process=False)
            closed = "yes" if ours.is_watertight and ours.is_winding_consistent else "no"
            row = [name, resolution, closed, ours.euler_number]
            volumes = [abs(mesh.volume) / solid.volume - 1 if solid.volume else None for mesh in (ours, theirs)]
            row += ["" if change is None else f"{change:+.2%}" for change in volumes]
            far = [np.abs(solid.distance(mesh.vertices)).max() * resolution / 2 for mesh in (ours, theirs)]
            row += [f"{cells:.2f}" for cells in far]
            lines.append("| " + " | ".join(map(str, row)) + " |")
    return lines


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="a Python with PyTorch; without it nothing is timed")
    parser.add_argument("--peer", type=Path, default=PEER, help="the peer's file")
    parser.add_argument("--only-ours", metavar="GRID", help="print our figures for a grid as JSON")
    arguments = parser.parse_args()
    if arguments.only_ours:
        print(json.dumps(measure(arguments.only_ours)))
        return
    from openlrm.ops import setup_device

    setup_device("CPU", 1)
    lines = ["# Surfaces", "", "By `python -m benchmarks.geometry`."]
    lines += ["; ".join(f"{key} {value}" for key, value in machine().items()), ""]
    lines += ["## Known solids", ""]
    lines += [
        "FlexiCubes with zero weights: every vertex is the mean of its cube's crossings, which rounds sharp edges",
        "",
    ]
    lines[-2] += " more than marching cubes do; weights and offsets are there to be fitted. Distances are in cells."
    lines += solids()
    if arguments.peer_python:
        lines += [
            "",
            "## Time",
            "",
            f"{RESOLUTION}^3 cubes, float32; best of five runs, in turn. "
            "On a shared machine only the first columns mean much.",
        ]
        lines += compare(arguments.peer_python, arguments.peer.resolve())
    Path(__file__).with_name("geometry.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
