"""Measures one stage of one model size in a process of its own and prints the figures as JSON."""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

REPO = Path(__file__).resolve().parents[1]
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
FRAMES, MESH = 160, 384


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


def best_of(job: Callable[[], object], repeats: int = REPEATS, warm: bool = False) -> float:
    """Seconds of the fastest run after one that warms up, unless it is `warm`."""
    if not warm:
        job()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return min(times)


def measure_planes(size: dict, field: Path) -> dict:
    """Image to planes, on random weights."""
    import mindspore as ms
    from mindspore import Tensor

    from openlrm import ModelLRM
    from openlrm.cameras import Camera

    ms.set_seed(0)
    model = ModelLRM(**model_config(size))
    model.set_train(False)
    image = Tensor(np.random.default_rng(0).random((1, 3, size["source"], size["source"]), np.float32))
    source = Tensor(Camera.canonical().source_record()[None])
    return {"planes": best_of(lambda: model.forward_planes(image, source).asnumpy())}


def measure_dense(size: dict, field: Path) -> dict:
    """A frame of a dense random field, nothing to skip, by the scene and by the model's own synthesizer."""
    from mindspore import Tensor

    from openlrm.cameras import Camera, turntable
    from openlrm.representations.triplane import Triplane, load_triplane

    planes, synthesizer = load_triplane(field)
    random = np.random.default_rng(0).standard_normal(planes.shape).astype(np.float32)
    scene = Triplane(Tensor(random), synthesizer)
    camera = Camera(turntable(8))[1:2]
    one = [camera.render_record()[None], np.zeros((1, 1, 2)), np.full((1, 1, 1), size["render"]), np.ones((1, 1, 1))]
    view = [Tensor(np.asarray(array, np.float32)) for array in one]
    synthesizer.set_train(False)

    def ask() -> None:
        synthesizer(scene.planes, *view, size["render"])["images_rgb"].asnumpy()

    return {"dense": best_of(lambda: list(scene.views(camera, size["render"]))), "synthesizer": best_of(ask)}


def measure_trained(size: dict, field: Path) -> dict:
    """Frames of a trained field, its whole turntable video and its coloured mesh, both with the file."""

    from openlrm.cameras import Camera, turntable
    from openlrm.representations.triplane import Triplane, load_triplane

    scene = Triplane(*load_triplane(field))
    cameras = Camera(turntable(8))
    with tempfile.TemporaryDirectory() as folder:
        options = {"views": FRAMES, "size": size["render"]}
        return {
            "frame": best_of(lambda: list(scene.views(cameras, size["render"], skip_empty=True))) / len(cameras),
            "video": best_of(lambda: scene.save(f"{folder}/video.mp4", **options), 1),
            "mesh": best_of(lambda: scene.save(f"{folder}/mesh.glb", size=MESH)),
        }


STAGES = {"planes": measure_planes, "dense": measure_dense, "trained": measure_trained}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("field", type=Path, help="planes.safetensors of a fit at this size")
    parser.add_argument("--mode", type=int, default=1, choices=(0, 1))
    arguments = parser.parse_args()
    from openlrm.ops import setup_device
    from openlrm.training.estimate import peak_memory

    setup_device("CPU", arguments.mode)
    figures = STAGES[arguments.stage](SIZES[arguments.size], arguments.field)
    print(json.dumps(figures | {f"{arguments.stage}_gib": peak_memory()}))


if __name__ == "__main__":
    main()
