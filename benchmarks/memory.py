"""Does memory stay flat? `python -m benchmarks.memory`: 2,000 tiny training steps, then 200 inferences.

Each in a process of its own, on the miniature model of the tests. Writes benchmarks/memory.md with the resident memory
every 100 steps or 10 inferences, and in the middle and at the end with what is left when freed memory is handed back
to the system. An inference is everything `infer.lrm` does for one picture: planes, video, mesh.
"""

import argparse
import ctypes
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
STEPS, INFERENCES = 2000, 200
TRAINING = [
    "--config", "configs/train-sample-debug.yaml", "--device_target=CPU", "--num_parallel_workers=2",
    "data.render_region_size=8", "data.render_image_low=12", "data.render_image_high=16", "train.batch_size=1",
    "model.rendering_samples_per_ray=8", f"train.train_steps={STEPS}", "train.use_ema=true", "val.val_interval=200",
    "report.watch_interval=100", "report.image_interval=0", "report.log_interval=100", "saver.ckpt_save_steps=100",
    "saver.ckpt_max_keep=3",
]  # fmt: skip


def resident() -> float:
    """MiB of this process in memory."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def in_use() -> float:
    """MiB after freed memory was handed back, which the C library else keeps for the next to come."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return resident()


def train(mode: int) -> None:
    """Train, and print the memory every 100 steps."""
    from openlrm.launch import main
    from openlrm.training.record import RunRecord

    tell = RunRecord.step

    def told(self, step, done):
        tell(self, step, done)
        print(step, resident(), in_use() if step in (STEPS // 2, STEPS) else "", flush=True)

    RunRecord.step = told
    with tempfile.TemporaryDirectory() as output:
        sys.exit(main(["train.lrm", *TRAINING, f"--mode={mode}", f"saver.output_path={output}", "report.logger=error"]))


def infer(mode: int) -> None:
    """Reconstruct, and print the memory every 10 pictures."""
    from openlrm.launch import main
    from openlrm.runners.infer.lrm import InferLRM

    export, done = InferLRM._export, []

    def told(self, *arguments, **more):
        export(self, *arguments, **more)
        done.append(None)
        if len(done) % 10 == 0:
            count = len(done)
            print(count, resident(), in_use() if count in (INFERENCES // 2, INFERENCES) else "", flush=True)

    InferLRM._export = told
    picture = next((REPO / "assets" / "sample_input").glob("*.png"))
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        for number in range(INFERENCES):
            shutil.copy(picture, pictures / f"{number:03d}.png")
        options = ["source_size=56", "render_size=32", "render_views=4", "mesh_size=32", "mesh_thres=0.5"]
        options += ["export_video=true", "export_mesh=true", "device_target=CPU", f"mode={mode}", "logger=error"]
        options += [f"model_name={REPO / 'openlrm' / 'families' / 'lrm' / 'golden'}", f"image_input={pictures}"]
        options += [f"{kind}_dump={folder}/out" for kind in ("video", "mesh", "planes")]
        sys.exit(main(["infer.lrm", *options]))


def measure(job: str, mode: int) -> tuple[list[list[float]], float]:
    """Rows that a job prints, and its seconds."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.memory", job, f"--mode={mode}"]
    environment = os.environ | {"GLOG_v": "3"}
    done = subprocess.run(command, cwd=REPO, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    rows = [[float(word) for word in line.split()] for line in done.stdout.splitlines() if line[:1].isdigit()]
    return rows, time.monotonic() - begun


def section(title: str, rows: list[list[float]], seconds: float) -> list[str]:
    """Table of a job, and what grew in its second half."""
    middle, end = (row for row in rows if len(row) == 3)
    used = end[2] - middle[2]
    shown = [row for row in rows if row[0] % (end[0] // 10) == 0]
    return [
        f"## {title}",
        "",
        f"In use, from {middle[0]:.0f} to {end[0]:.0f}: {used:+.1f} MiB; {seconds:.0f} s in all.",
        "",
        "| after | resident, MiB | in use, MiB |",
        "|---|---|---|",
        *(f"| {row[0]:.0f} | {row[1]:.1f} | {f'{row[2]:.1f}' if row[2:] else ''} |" for row in shown),
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", nargs="?", choices=("train", "infer"), help="one of them alone, in this process")
    parser.add_argument("--mode", type=int, default=0, choices=(0, 1), help="of that one: 0 graph, 1 PyNative")
    chosen = parser.parse_args()
    if chosen.job:
        return train(chosen.mode) if chosen.job == "train" else infer(chosen.mode)
    from benchmarks.run import machine

    text = [
        "# Memory over time",
        "",
        "By `python -m benchmarks.memory`: resident memory of one process, on the miniature model.",
    ]
    text += ["; ".join(f"{key} {value}" for key, value in machine().items()), ""]
    for mode, name in ((0, "graph mode"), (1, "PyNative")):
        text += section(f"{STEPS} training steps, {name}", *measure("train", mode))
        text += section(f"{INFERENCES} inferences, {name}", *measure("infer", mode))
    Path(__file__).with_name("memory.md").write_text("\n".join(text), encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
