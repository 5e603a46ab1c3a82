"""What does bfloat16 cost and gain? `python -m benchmarks.precision [--sizes ...] [--model MODEL] [PICTURE ...]`.

Image to planes of the released sizes on random weights in either format, each in a process of its own: the
processor's seconds of all threads over the number of cores, the best of three, so that what else runs on the machine
counts little. Planes and frames of a model in bfloat16 against its own in float32: without arguments the demonstration
model's, of the pictures of assets/sample_input. Writes benchmarks/precision.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

VIEWS, SIZE = 12, 192
HERE = Path(__file__).resolve().parent


def measure(pictures: list[Path], model: str | None) -> list[tuple[str, float, float, float]]:
    """Of each picture: relative error of the planes, PSNR of the frames against float32, mean and worst view."""
    import openlrm
    from openlrm.cameras import Camera, turntable

    models = {precision: openlrm.load_model(model, "CPU", precision=precision) for precision in ("fp32", "bf16")}
    if models["bf16"].precision != "bf16":
        raise SystemExit("no bfloat16 here: the log says why")
    cameras, found = Camera(turntable(VIEWS)), []
    for picture in pictures:
        scenes = {name: openlrm.reconstruct(picture, model) for name, model in models.items()}
        exact, half = (scenes[name].planes.asnumpy() for name in ("fp32", "bf16"))
        views = [[view.rgb for view in scenes[name].views(cameras, SIZE)] for name in ("fp32", "bf16")]
        decibels = [-10 * np.log10(np.mean((a - b) ** 2)) for a, b in zip(*views, strict=True)]
        error = np.sqrt(np.mean((half - exact) ** 2) / np.mean(exact**2))
        found.append((picture.name, error, float(np.mean(decibels)), min(decibels)))
    return found


def speeds(sizes: list[str]) -> list[str]:
    """Rows of a table."""
    rows = []
    for size in sizes:
        found = {}
        for precision in ("fp32", "bf16"):
            command = [sys.executable, "-m", "benchmarks.worker", size, precision]
            out = subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True).stdout
            found[precision] = json.loads(out.strip().splitlines()[-1])
        exact = found["fp32"]["seconds"]
        for figures in found.values():
            cells = [f"{figures['seconds']:.2f}", f"{figures['seconds'] / exact:.2f}"]
            cells += [f"{figures['weights_gib']:.2f}", f"{figures['peak_gib']:.2f}"]
            rows.append(f"| {size} | {figures['precision']} | {' | '.join(cells)} |")
    return rows


def main() -> None:
    """Measure, print, save."""
    from benchmarks.run import machine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("--sizes", nargs="*", default=["small", "base"], help="of the first table")
    parser.add_argument("--model", help="folder, file or hub id; the demonstration model without it")
    arguments = parser.parse_args()
    pictures = arguments.pictures or sorted((HERE.parent / "assets" / "sample_input").glob("*.png"))
    lines = ["# bfloat16 against float32", "", "By `python -m benchmarks.precision`."]
    lines += ["; ".join(f"{key} {value}" for key, value in machine().items()), ""]
    lines += ["Image to planes, random weights:", ""]
    lines += ["| size | products | processor, s | of float32 | weights, GiB | peak, GiB |", "|---|---|---|---|---|---|"]
    lines += [*speeds(arguments.sizes), ""]
    lines += [f"{VIEWS} frames of {SIZE} pixels each, {arguments.model or 'the demonstration model'}:", ""]
    lines += ["| picture | error of the planes | PSNR, mean of the views, dB | worst view, dB |", "|---|---|---|---|"]
    for name, error, mean, worst in measure(pictures, arguments.model):
        lines.append(f"| {name} | {error:.2%} | {mean:.1f} | {worst:.1f} |")
    (HERE / "precision.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
