"""Training items per second and core: `python -m benchmarks.data ROOT`, ROOT a folder of rendered objects.

Views are enlarged to 512 and 1024 pixels for the larger rows. Counts processor seconds of one process with one
thread, so that other jobs on the machine matter little, and writes benchmarks/data.md.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.run import machine
from openlrm.datasets import DataConfig, SubsetConfig, TrainItems, blend, list_uids, read_object
from openlrm.datasets.regions import resize_region
from openlrm.utils.images import resize_bicubic

SIZES = {"small": (224, 64, 192, 64), "base": (336, 96, 288, 96), "large": (448, 128, 384, 128)}
SIDES = (256, 512, 1024)
ITEMS = 60


def enlarge(root: Path, out: Path, side: int, objects: int = 3, views: int = 8) -> None:
    """Write the first views of some objects at another size."""
    uids = list_uids(root)[:objects]
    for uid in uids:
        for kind in ("rgba", "pose"):
            (out / uid / kind).mkdir(parents=True)
        shutil.copy(root / uid / "intrinsics.npy", out / uid)
        for name in read_object(root, uid).names[:views]:
            shutil.copy(root / uid / "pose" / f"{name}.npy", out / uid / "pose")
            with Image.open(root / uid / "rgba" / f"{name}.png") as picture:
                picture.resize((side, side), Image.Resampling.BICUBIC).save(out / uid / "rgba" / f"{name}.png")
    (out / "meta.json").write_text(json.dumps(uids))


def milliseconds(job: Callable[[int], object], count: int = ITEMS) -> float:
    """Median processor milliseconds of a call after one that warms up."""
    job(0)
    times = []
    for index in range(1, count + 1):
        start = time.process_time()
        job(index)
        times.append(time.process_time() - start)
    return float(np.median(times)) * 1e3


def item_rows(roots: dict[int, Path]) -> list[str]:
    rows = [
        "| size | stored side | decoded every time: ms, items/s | from memory: ms, items/s |",
        "|---|---|---|---|",
    ]
    for name, (source, low, high, region) in SIZES.items():
        for side, root in roots.items():
            figures = []
            for cache in (0, 4096):
                config = DataConfig(
                    [SubsetConfig([str(root)])],
                    source_image_res=source,
                    render_image_low=low,
                    render_image_high=high,
                    render_region_size=region,
                    cache_mib=cache,
                )
                items = TrainItems(config, seed=0)
                for uid in range(len(items.uids) if cache else 0):
                    for view in range(8):
                        items._planes(uid, items._object(uid), view)
                cost = milliseconds(lambda index, items=items: items.item(0, index))
                figures.append(f"{cost:.1f}, {1000 / cost:.0f}")
            rows.append(f"| {name} | {side} | {figures[0]} | {figures[1]} |")
    return rows


def stage_rows(roots: dict[int, Path]) -> list[str]:
    rows = [
        "| stored side | decode | source view to 224 | region of 64 at 128 | the same, by resizing all of it |",
        "|---|---|---|---|---|",
    ]
    for side, root in roots.items():
        source = read_object(root, list_uids(root)[0])
        planes, rgba = source.read_planes(0), source.read_view(0)[0]
        stages = (
            lambda _, source=source: source.read_planes(0),
            lambda _, planes=planes: resize_region(planes, 224, (0, 0), 224),
            lambda _, planes=planes: resize_region(planes, 128, (30, 20), 64),
            lambda _, rgba=rgba: resize_bicubic(np.ascontiguousarray(blend(rgba, 0.5).transpose(2, 0, 1)), 128),
        )
        rows.append(f"| {side} | " + " | ".join(f"{milliseconds(stage, 20):.2f}" for stage in stages) + " |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder of rendered objects")
    root = parser.parse_args().root
    with tempfile.TemporaryDirectory() as folder:
        roots = {side: Path(folder) / str(side) for side in SIDES}
        for side, path in roots.items():
            enlarge(root, path, side)
        text = "\n".join(
            [
                "# Training data: what a core delivers",
                "",
                "By `python -m benchmarks.data ROOT`; " + ", ".join(f"{k} {v}" for k, v in machine().items()) + ".",
                "Medians, one thread, processor time. An item is 4 views: the source, and 4 regions.",
                "",
                "## Items",
                *item_rows(roots),
                "",
                "## Stages, milliseconds for a view",
                *stage_rows(roots),
                "",
            ]
        )
    path = Path(__file__).with_name("data.md")
    notes = path.read_text(encoding="utf-8").partition("\n## Read from it\n") if path.exists() else ("", "", "")
    path.write_text(text + "".join(notes[1:]), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
