"""Compare this project with the PyTorch peer in one sitting: `python -m benchmarks.run --peer-python PATH`.

Each program runs in a process of its own, one after the other, on random weights and a dense random field (nothing
to skip). Prints a table and writes it, with machine and versions, to benchmarks/results.md and .json.
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

from benchmarks.worker import GRID, SIZES

HERE = Path(__file__).resolve().parent
PEER = HERE.parents[1] / "shared" / "peer" / "lrm_torch.py"
STAGES = {"planes": "image to planes, s", "frame": "one frame, s", "grid": f"field on a {GRID}^3 grid, s"}


def measure_ours(size: str, mode: int) -> dict:
    """Figures of `benchmarks.worker` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.worker", size, "--mode", str(mode)]
    out = subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def measure_peer(python: str, script: Path, size: str) -> dict:
    """Figures that the peer prints, by stage."""
    out = subprocess.run([python, str(script), "bench", size], check=True, stdout=subprocess.PIPE, text=True).stdout
    figures = {}
    for stage in STAGES:
        found = re.search(rf"^{stage}\b.*?([\d.]+) s", out, re.MULTILINE)
        if found is None:
            raise SystemExit(f"the peer printed no figure for {stage}:\n{out}")
        figures[stage] = float(found.group(1))
    return figures


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
    """Markdown: a row for every size and stage."""
    lines = [
        "| size | stage | PyNative | graph | PyTorch | PyNative / PyTorch | graph / PyTorch |",
        "|---|---|---|---|---|---|---|",
    ]
    for size, columns in results.items():
        for stage, title in STAGES.items():
            row = [columns.get(name, {}).get(stage) for name in ("pynative", "graph", "peer")]
            ratios = [value / row[2] if value and row[2] else None for value in row[:2]]
            cells = [f"{value:.2f}" if value else "-" for value in row + ratios]
            lines.append(f"| {size} | {title} | {' | '.join(cells)} |")
        peaks = [columns[name]["peak_gib"] if name in columns else None for name in ("pynative", "graph")]
        lines.append(
            f"| {size} | peak memory, GiB | {' | '.join(f'{p:.2f}' if p else '-' for p in peaks)} | - | - | - |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["small", "base"], choices=SIZES)
    parser.add_argument("--peer-python", help="interpreter with PyTorch; without it the peer's column stays empty")
    parser.add_argument("--peer-script", type=Path, default=PEER)
    parser.add_argument("--output", type=Path, default=HERE / "results", help="without suffix")
    arguments = parser.parse_args()
    results: dict = {}
    for size in arguments.sizes:
        results[size] = {"pynative": measure_ours(size, 1), "graph": measure_ours(size, 0)}
        if arguments.peer_python:
            results[size]["peer"] = measure_peer(arguments.peer_python, arguments.peer_script, size)
        print(table({size: results[size]}), flush=True)
    about = machine()
    facts = ", ".join(f"{key} {value}" for key, value in about.items())
    arguments.output.with_suffix(".json").write_text(
        json.dumps({"machine": about, "results": results}, indent=2) + "\n"
    )
    arguments.output.with_suffix(".md").write_text(f"{table(results)}\n\n{facts}. Best of three runs after one.\n")


if __name__ == "__main__":
    main()
