"""Does the cost grow with the surface? `python -m benchmarks.scaling FIELD`: meshes and videos of several sizes.

FIELD is a planes.safetensors, for instance that of `benchmarks.run`. Writes benchmarks/scaling.md. Seconds are those of
whole files: of meshes the best of two, of videos one, after one of the smallest size.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.worker import FRAMES, best_of

MESHES = (128, 256, 384, 512, 768)
VIDEOS = (96, 192, 288, 384)


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("field", type=Path)
    arguments = parser.parse_args()
    from benchmarks.run import machine
    from openlrm.api import load_scene

    scene = load_scene(arguments.field, "CPU")
    lines = ["# Meshes and videos of several sizes", "", "By `python -m benchmarks.scaling`, on a fitted object."]
    lines += ["; ".join(f"{key} {value}" for key, value in machine().items()), ""]
    lines += ["| grid points a side | vertices | s | microseconds a vertex |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:

        def mesh(size: int) -> None:
            scene.save(f"{folder}/mesh.glb", size=size)

        def video(size: int) -> None:
            scene.save(f"{folder}/video.mp4", views=FRAMES, size=size)

        mesh(MESHES[0])
        video(VIDEOS[0])
        for size in MESHES:
            seconds = best_of(partial(mesh, size), 2, warm=True)
            vertices = len(scene.mesh(size).vertices)
            lines.append(f"| {size} | {vertices} | {seconds:.2f} | {seconds / vertices * 1e6:.1f} |")
        lines += ["", f"| pixels a side, {FRAMES} frames | s | ms a frame | ns a pixel |", "|---|---|---|---|"]
        for size in VIDEOS:
            seconds = best_of(partial(video, size), 1, warm=True)
            frame = seconds / FRAMES
            lines.append(f"| {size} | {seconds:.1f} | {frame * 1e3:.0f} | {frame / size**2 * 1e9:.0f} |")
    Path(__file__).with_name("scaling.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
