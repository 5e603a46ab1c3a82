"""How fast are the compiled products? `python -m benchmarks.products`; writes benchmarks/products.md.

Products of the released models' layers, in float32 and in bfloat16. Seconds are the processor's, the best of several,
so that what else runs on the machine counts little: of a task of 256 rows on one core, and of 3072 rows on all cores,
where they are those of all threads divided by their number. Errors are root mean squares against float64, of the
product's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

REPEATS, ROWS, TOKENS = 15, 256, 3072
LAYERS = {
    "small, q, k, v": (512, 1536),
    "small, MLP, first": (512, 2048),
    "small, MLP, second": (2048, 512),
    "base, MLP, first": (768, 3072),
    "base, MLP, second": (3072, 768),
    "large, MLP, first": (1024, 4096),
    "large, MLP, second": (4096, 1024),
}
"""Numbers in a row of the input and of the output."""


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """The best of several, after one that compiles."""
    work()
    found = []
    for _ in range(REPEATS):
        start = clock()
        work()
        found.append(clock() - start)
    return min(found)


def measure(inner: int, width: int) -> dict[str, list[float]]:
    """GFLOP/s of one core and of all, and the error, in float32 and in bfloat16."""
    from openlrm.ops import fused
    from openlrm.ops.half import pack_half, product_half
    from openlrm.ops.host.arrays import scratch
    from openlrm.ops.host.bf16 import multiply_pairs
    from openlrm.ops.host.panels import multiply_panels
    from openlrm.utils.threads import host_threads

    random = np.random.default_rng(0)
    x = random.normal(size=(TOKENS, inner)).astype(np.float32)
    weight = random.normal(size=(width, inner)).astype(np.float32)
    rows, out = fused.to_panels(x), fused.panels(width, TOKENS)
    tiles, half = fused.pack_tiles(weight.T), pack_half(weight)
    room = scratch(ROWS * inner // 2).view(np.int32)
    exact = x.astype(float) @ weight.T.astype(float)
    part = fused.to_panels(x[:ROWS]), fused.panels(width, ROWS)

    def options(numbers: np.ndarray) -> tuple:
        return part[0], numbers, fused.NO_BIAS, False, False, 0, ROWS, part[1]

    forms = {
        "float32": (lambda: multiply_panels(*options(tiles)), lambda: fused.product(rows, weight, out)),
        "bfloat16": (lambda: multiply_pairs(*options(half.numbers), room), lambda: product_half(rows, half, out)),
    }
    found = {}
    for name, (of_one, of_all) in forms.items() if half.is_half else [("float32", forms["float32"])]:
        speeds = [2e-9 * ROWS * inner * width / seconds(of_one, time.thread_time)]
        speeds.append(2e-9 * TOKENS * inner * width / seconds(of_all, time.process_time) * host_threads())
        error = np.sqrt(np.mean((fused.to_rows(out, TOKENS) - exact) ** 2) / np.mean(exact**2))
        found[name] = [*speeds, error]
    return found


def main() -> None:
    """Measure, print, save."""
    from benchmarks.run import machine

    lines = ["# Compiled products", "", f"By `python -m benchmarks.products`: GFLOP/s, {TOKENS} rows on all cores."]
    lines += ["; ".join(f"{key} {value}" for key, value in machine().items()), ""]
    lines += ["| product | | one core | all cores | error |", "|---|---|---|---|---|"]
    for name, (inner, width) in LAYERS.items():
        for form, (one, every, error) in measure(inner, width).items():
            lines.append(f"| {name}, {inner} to {width} | {form} | {one:.0f} | {every:.0f} | {error:.1e} |")
    Path(__file__).with_name("products.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
