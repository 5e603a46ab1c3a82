"""Measures one model size in a process of its own and prints the figures as JSON."""

import argparse
import json
import resource
import time
from collections.abc import Callable

import numpy as np

SIZES = {
    "small": dict(
        layers=12, dim=512, heads=8, channels=32, samples=96, source=224, render=192, encoder="dinov2_vits14_reg"
    ),
    "base": dict(
        layers=12, dim=768, heads=12, channels=48, samples=96, source=336, render=288, encoder="dinov2_vitb14_reg"
    ),
    "large": dict(
        layers=16, dim=1024, heads=16, channels=80, samples=128, source=448, render=384, encoder="dinov2_vitb14_reg"
    ),
}
REPEATS = 3
GRID = 128


def model_config(size: dict) -> dict:
    """Constructor arguments of a released model's size."""
    return dict(
        camera_embed_dim=1024,
        rendering_samples_per_ray=size["samples"],
        transformer_dim=size["dim"],
        transformer_layers=size["layers"],
        transformer_heads=size["heads"],
        triplane_low_res=32,
        triplane_high_res=64,
        triplane_dim=size["channels"],
        encoder_freeze=True,
        encoder_type="dinov2",
        encoder_model_name=size["encoder"],
        encoder_feat_dim=384 if "vits" in size["encoder"] else 768,
    )


def best_of(job: Callable[[], None], repeats: int = REPEATS) -> float:
    """Seconds of the fastest run after one that warms up."""
    job()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(name: str, mode: int) -> dict:
    """Seconds of image to planes, one frame of a dense random field and a field grid; peak memory in GiB."""
    from openlrm.ops import setup_device

    setup_device("CPU", mode)
    import mindspore as ms
    from mindspore import Tensor

    from openlrm.cameras import build_render_camera, build_source_camera, default_source_pose, turntable
    from openlrm.inference.scene import Scene
    from openlrm.models import ModelLRM

    size = SIZES[name]
    ms.set_seed(0)
    model = ModelLRM(**model_config(size))
    model.set_train(False)
    random = np.random.default_rng(0)
    image = Tensor(random.random((1, 3, size["source"], size["source"]), np.float32))
    source = Tensor(build_source_camera(default_source_pose(2.0))[None].astype(np.float32))
    planes = Tensor(random.standard_normal((1, 3, size["channels"], 64, 64)).astype(np.float32))
    scene = Scene(planes, model.synthesizer)
    camera = build_render_camera(turntable(8))[1:2]
    line = np.linspace(-1, 1, GRID, dtype=np.float32)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)

    return {
        "planes": best_of(lambda: model.forward_planes(image, source).asnumpy()),
        "frame": best_of(lambda: list(scene.views(camera, size["render"]))),
        "grid": best_of(lambda: scene.field(points)),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--mode", type=int, default=1, choices=(0, 1))
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.size, arguments.mode)))
