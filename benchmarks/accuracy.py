"""What skipping empty space costs in accuracy: `python -m benchmarks.accuracy FIELD [FIELD ...]`.

Every view of a turntable is rendered three times: with REFERENCE samples a ray, with the field's own number of samples,
and with those while empty space is skipped. Errors of the last two against the first, view by view, go to
benchmarks/accuracy.md.
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

REFERENCE = 512
VIEWS = 24


def decibels(picture: np.ndarray, truth: np.ndarray) -> float:
    """PSNR."""
    return float(-10 * np.log10(np.mean((picture - truth) ** 2)))


def compare(path: Path, size: int) -> np.ndarray:
    """(VIEWS, 2): PSNR of plain and of skipping against the reference."""

    from openlrm.api import load_scene
    from openlrm.cameras import Camera, turntable
    from openlrm.representations.triplane import Triplane, load_triplane

    scene = load_scene(path, "CPU")
    planes, synthesizer = load_triplane(path)
    synthesizer.samples = REFERENCE // 2
    reference = Triplane(planes, synthesizer)
    found = []
    for camera in tqdm(Camera(turntable(VIEWS))[:, None], desc=path.parent.name):
        (truth,) = reference.views(camera, size)
        pictures = [next(scene.views(camera, size, skip_empty=skip)) for skip in (False, True)]
        found.append([decibels(picture.rgb, truth.rgb) for picture in pictures])
    return np.array(found)


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fields", type=Path, nargs="+", help="planes.safetensors")
    parser.add_argument("--size", type=int, default=192)
    arguments = parser.parse_args()
    from benchmarks.run import machine

    lines = ["# Empty space left out: how far from the truth", ""]
    lines += [
        f"By `python -m benchmarks.accuracy`: {VIEWS} views of {arguments.size} pixels a side, PSNR in dB against"
    ]
    lines += [f"{REFERENCE} samples a ray. {'; '.join(f'{key} {value}' for key, value in machine().items())}", ""]
    lines += ["| field | plain, worst to best view | empty space skipped | worst change of a view | views not worse |"]
    lines += ["|---|---|---|---|---|"]
    for path in arguments.fields:
        found = compare(path, arguments.size)
        spans = [f"{column.min():.2f} to {column.max():.2f}" for column in found.T]
        change = found[:, 1] - found[:, 0]
        cells = [path.parent.name, *spans, f"{change.min():+.3f}", f"{(change >= 0).sum()} of {VIEWS}"]
        lines.append(f"| {' | '.join(cells)} |")
    Path(__file__).with_name("accuracy.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
