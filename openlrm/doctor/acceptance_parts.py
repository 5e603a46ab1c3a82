"""What the acceptance run asks with: references in float64, a scene, an object to train on, timed models."""

from __future__ import annotations

import glob
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from openlrm.cameras import Camera, turntable
from openlrm.representations.base import Representation, View

VIEWS = 4

_ENCODER = "{img_size: 56, patch_size: 14, embed_dim: 128, depth: 2, num_heads: 2, num_register_tokens: 4}"

TRAINING_OPTIONS = (
    "data.source_image_res=56",
    "data.render_region_size=16",
    "data.render_image_low=16",
    "data.render_image_high=16",
    "data.sample_side_views=2",
    "model.camera_embed_dim=64",
    "model.transformer_dim=128",
    "model.transformer_layers=2",
    "model.transformer_heads=2",
    "model.triplane_low_res=8",
    "model.triplane_high_res=16",
    "model.triplane_dim=8",
    "model.rendering_samples_per_ray=16",
    "model.encoder_type=dinov2",
    "model.encoder_model_name=acceptance",
    "model.encoder_feat_dim=128",
    f"model.encoder={_ENCODER}",
    "train.train_steps=2",
    "train.batch_size=1",
    "train.loss.perceptual_weight=0",
    "val.val_interval=0",
    "report.watch_interval=0",
    "report.image_interval=0",
)
"""A model whose heads are 64 wide, and two steps of it."""


def count_npus() -> int:
    """Device files of Ascend NPUs."""
    return len(glob.glob("/dev/davinci[0-9]*"))


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference as a part of the largest number; infinite where something is not finite."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max()) if np.isfinite(ours).all() else float("inf")


def exact_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, dout: np.ndarray, heads: int) -> list[np.ndarray]:
    """Attention by its definition in float64, and the gradients of q, k and v: (1, L, D) each."""

    def split(x: np.ndarray) -> np.ndarray:
        return x[0].astype(np.float64).reshape(len(x[0]), heads, -1).transpose(1, 0, 2)

    def join(parts: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(parts, axis=1)[None]

    scale = (q.shape[2] / heads) ** -0.5
    results: list[list[np.ndarray]] = [[], [], [], []]
    for q_head, k_head, v_head, dout_head in zip(*map(split, (q, k, v, dout)), strict=True):
        scores = q_head @ k_head.T * scale
        p = np.exp(scores - scores.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        dp = dout_head @ v_head.T
        ds = p * (dp - (dp * p).sum(1, keepdims=True)) * scale
        for kept, value in zip(results, (p @ v_head, ds @ k_head, ds.T @ q_head, p.T @ dout_head), strict=True):
            kept.append(value)
    return [join(parts) for parts in results]


def ring() -> Camera:
    """Cameras around the object, (VIEWS,)."""
    return Camera(turntable(VIEWS))


def golden_scene(folder: Path) -> Representation:
    """The golden model's object."""
    from openlrm.families.lrm.family import LRM
    from openlrm.families.lrm.golden_check import GoldenCase

    case = GoldenCase(folder)
    camera = Camera.from_source_record(case.arrays["source_camera"][:1])
    return LRM().reconstruct(case.model, case.arrays["image"][:1], camera, "device")


def usual_density(scene: Representation) -> float:
    """A density that a tenth of the cube exceeds."""
    line = np.linspace(-0.9, 0.9, 12, dtype=np.float32)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    return float(np.quantile(scene.field(points)[0], 0.9))


def write_object(root: Path, views: Sequence[View], cameras: Camera) -> None:
    """Views as a set of one rendered object, see docs/data.md."""
    from openlrm.utils.images import save_image, to_uint8

    folder = root / "object"
    for part in ("rgba", "pose"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, view in enumerate(views):
        save_image(folder / "rgba" / f"{number:03d}.png", to_uint8(np.dstack([view.rgb, view.mask])))
        np.save(folder / "pose" / f"{number:03d}.npy", cameras.c2w[number, :3, :4])
    side = len(views[0].rgb)
    fx, fy, cx, cy = cameras.intrinsics[0] * side
    np.save(folder / "intrinsics.npy", np.array([[fx, fy], [cx, cy], [side, side]]))
    (root / "meta.json").write_text(json.dumps(["object"]))


def measure(kind: str, region: int = 64) -> dict[str, float]:
    """Seconds of a released size with random weights: `planes`, `step`; and `frames` a second.

    A step is four regions of 64 x 64 pixels of one object, pixel loss and total variation, AdamW, float32.
    """
    import mindspore as ms
    from mindspore import Tensor

    from openlrm.families.lrm.family import LRM
    from openlrm.families.lrm.golden_check import GoldenLoss
    from openlrm.ops.state import training_state
    from openlrm.training.optim import AdamW, variable

    family = LRM()
    (preset,) = (preset for preset in family.presets() if preset.name == kind)
    ms.set_seed(0)
    model = family.build(dict(preset.config)).set_train(False)
    size, random = preset.source_size, np.random.default_rng(0)
    picture = random.random((1, 3, size, size), np.float32)
    scene = family.reconstruct(model, picture, Camera.canonical()[None], "device")

    def planes() -> None:
        model.forward_planes(Tensor(picture), Tensor(Camera.canonical()[None].source_record())).asnumpy()

    figures = {"planes": _best(planes)}
    figures["frames"] = VIEWS / _best(lambda: list(scene.views(ring(), 192)))
    rays, samples = VIEWS * region**2, model.synthesizer.samples
    inputs = [picture, Camera.canonical()[None].source_record(), ring().render_record()[None]]
    inputs += [np.zeros((1, VIEWS, 2)), np.full((1, VIEWS, 1), region), np.ones((1, VIEWS, 1))]
    inputs += [random.random((rays, samples)), random.random((rays, samples)), np.ones((1, VIEWS, 3, region, region))]
    tensors = [Tensor(np.asarray(array, np.float32)) for array in inputs]
    loss, weights = GoldenLoss(model, region), ms.ParameterTuple(model.trainable_params())
    optimizer, gradient = AdamW(weights, (0.9, 0.95), 1e-8, 0.05), ms.value_and_grad(loss, None, weights, has_aux=True)

    def step() -> None:
        (value, _, _), gradients = gradient(*tensors)
        optimizer.step(variable(gradients), 1e-5, 0)
        value.asnumpy()
        weights[0].asnumpy()

    with training_state(loss):
        figures["step"] = _best(step)
    return figures


def _best(work, times: int = 3) -> float:
    """Least seconds of some calls after a first one, which compiles."""
    work()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
