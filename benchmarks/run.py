"""Compare this project with the PyTorch peer in one sitting: `python -m benchmarks.run --peer-python PATH`.

Every stage of each program runs in a process of its own, one after the other, ours and the peer's in turn. Prints a
table and writes it, with machine and versions, to benchmarks/results.md and .json. The trained field is
`outputs/benchmarks/<size>/planes.safetensors`, fitted first where it is missing: `fit.triplane` of the sample object
at the size's full planes.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.worker import FRAMES, MESH, REPO, SIZES, STAGES

HERE = Path(__file__).resolve().parent
PEER = HERE.parents[1] / "shared" / "peer" / "lrm_torch.py"
# Title, and what ours may take of the peer's.
FIGURES = {
    "planes": ("image to planes, s", 1.0),
    "frame": ("frame of a trained field, s", 1 / 15),
    "dense": ("frame of a dense random field, s", 1 / 4),
    "synthesizer": ("the same by model.synthesizer, s", None),
    "video": (f"video of {FRAMES} frames, s", None),
    "mesh": (f"mesh {MESH}^3 of a trained field, s", 1 / 20),
    "train": ("training step, s", 0.9),
    "planes_gib": ("peak of image to planes, GiB", 0.7),
    "trained_gib": ("peak of video and mesh, GiB", 0.7),
    "train_gib": ("peak of the training step, GiB", 0.7),
}


def output_of(command: list[str]) -> str:
    """What a command prints, run in the repository."""
    return subprocess.run(command, cwd=REPO, check=True, stdout=subprocess.PIPE, text=True).stdout


def fitted_field(size: str) -> Path:
    """Triplane file of the sample object at a size's full planes."""
    folder = REPO / "outputs" / "benchmarks" / size
    if not (folder / "planes.safetensors").is_file():
        sides = [f"triplane_dim={SIZES[size]['channels']}", f"samples_per_ray={SIZES[size]['samples']}"]
        options = ["data_root=assets/sample_object", "uid=food_dinner", f"output={folder}"]
        output_of([sys.executable, "-m", "openlrm.launch", "fit.triplane", *options, *sides])
    return folder / "planes.safetensors"


def measure_ours(size: str, stage: str, mode: int) -> dict:
    """Figures of a stage, in a fresh process."""
    if stage == "train":
        return measure_training(size, mode)
    command = [sys.executable, "-m", "benchmarks.worker", size, stage, str(fitted_field(size)), f"--mode={mode}"]
    return json.loads(output_of(command).strip().splitlines()[-1])


def measure_training(size: str, mode: int) -> dict:
    """A step of the published recipe without LPIPS, as `train.lrm --dry_run` measures it; {} if memory is short."""
    config = ["--config", f"configs/train-sample-{size}.yaml", "--dry_run", f"--mode={mode}"]
    options = ["train.loss.perceptual_weight=0", f"data.render_image_low={SIZES[size]['render']}", "device_target=CPU"]
    out = output_of([sys.executable, "-m", "openlrm.launch", "train.lrm", *config, *options])
    found = re.search(r"([\d.]+) s a step .*peak memory ([\d.]+) GiB", out)
    return {"train": float(found[1]), "train_gib": float(found[2])} if found else {}


def measure_peer(python: str, script: Path, size: str, stage: str) -> dict:
    """The peer's figures of a stage, in a fresh process; {} if that is killed, as by a lack of memory."""
    try:
        out = output_of([python, str(HERE / "peer.py"), str(script), size, stage])
    except subprocess.CalledProcessError as error:
        print(f"PyTorch, {size}, {stage}: ended with {error.returncode}", file=sys.stderr)
        return {}
    return json.loads(out.strip().splitlines()[-1])


def machine() -> dict:
    """What the figures depend on."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True).stdout
    return {
        "date": date.today().isoformat(),
        "commit": commit.strip(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "mindspore": version("mindspore"),
        "numpy": version("numpy"),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return found.group(1) if found else platform.processor()


def table(results: dict) -> str:
    """Markdown: a row for every size and figure."""
    lines = ["| size | | ours | PyTorch | ours / PyTorch | target |", "|---|---|---|---|---|---|"]
    for size, columns in results.items():
        for figure, (title, target) in FIGURES.items():
            ours, peer = (columns[name].get(figure) for name in ("ours", "peer"))
            ratio = ours / peer if ours and peer else None
            cells = [f"{value:.2f}" if value else "-" for value in (ours, peer)]
            cells += [f"{value:.3f}" if value else "-" for value in (ratio, target)]
            lines.append(f"| {size} | {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["small", "base"], choices=SIZES)
    parser.add_argument("--stages", nargs="+", default=[*STAGES, "train"], choices=[*STAGES, "train"])
    parser.add_argument("--mode", type=int, default=1, choices=(0, 1), help="0 graph, 1 PyNative")
    parser.add_argument("--peer-python", help="interpreter with PyTorch; without it the peer's column stays empty")
    parser.add_argument("--peer-script", type=Path, default=PEER)
    parser.add_argument("--output", type=Path, default=HERE / "results", help="without suffix")
    arguments = parser.parse_args()
    results: dict = {}
    for size in arguments.sizes:
        results[size] = {"ours": {}, "peer": {}}
        for stage in arguments.stages:
            results[size]["ours"] |= measure_ours(size, stage, arguments.mode)
            if arguments.peer_python:
                results[size]["peer"] |= measure_peer(arguments.peer_python, arguments.peer_script, size, stage)
        print(table({size: results[size]}), flush=True)
    about = machine() | {"mode": ("graph", "PyNative")[arguments.mode]}
    facts = ", ".join(f"{key} {value}" for key, value in about.items())
    arguments.output.with_suffix(".json").write_text(
        json.dumps({"machine": about, "results": results}, indent=2) + "\n"
    )
    arguments.output.with_suffix(".md").write_text(
        f"{table(results)}\n\n{facts}. Best of three runs after one (video: of one; training step: the second of two; "
        "the peer's frames, grids and steps: of two). The peer's video is 160 times its frame, its mesh 27 times its "
        "128^3 grid.\n"
    )


if __name__ == "__main__":
    main()
