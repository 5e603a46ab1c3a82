"""Commands as a user types them, on the strict stand-in of an NPU and on the CPU: the same results."""

import json
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from mindspore import Tensor

from openlrm.checkpoint import read_tensors
from openlrm.families.lrm.deferred import DeferredLRMTask
from openlrm.launch import main
from openlrm.training.task import Task

REPO = Path(__file__).resolve().parents[2]
GOLDEN = REPO / "openlrm" / "families" / "lrm" / "golden"
MUG = REPO / "assets" / "sample_input" / "mug_full.png"
TRAIN = (
    "train.lrm",
    "--config",
    "configs/train-sample-debug.yaml",
    "device_target=CPU",
    "data.render_region_size=16",
    "data.render_image_low=16",
    "data.render_image_high=20",
    "train.batch_size=1",
    "train.train_steps=3",
    "train.use_ema=true",
    "train.gradient_accumulation_steps=2",
    "model.rendering_samples_per_ray=8",
    "val.val_interval=0",
    "report.watch_interval=0",
    "report.image_interval=0",
    "report.log_interval=1",
)


@pytest.fixture
def twice(npu, monkeypatch, tmp_path):
    """Run a command on the CPU, then on the stand-in, each into a folder of its own."""

    def run(command) -> tuple[list[Path], object]:
        monkeypatch.chdir(REPO)
        folders = [tmp_path / "cpu", tmp_path / "npu"]
        record = None
        for folder in folders:
            assert main([str(word).replace("OUT", str(folder)) for word in command]) == 0
            if record is None:
                record = npu()
                forbid_waiting(monkeypatch)
        return folders, record

    return run


def forbid_waiting(monkeypatch) -> None:
    """From batch to gradient nothing may be fetched from the device: the host would wait for all it has to do."""
    fetch, inside = Tensor.asnumpy, []

    def asnumpy(self):
        assert not inside, "fetched from the device in the middle of a gradient"
        return fetch(self)

    monkeypatch.setattr(Tensor, "asnumpy", asnumpy)
    for task in (Task, DeferredLRMTask):

        def gradient(self, *args, of=task.gradient):
            inside.append(self)
            try:
                return of(self, *args)
            finally:
                inside.pop()

        monkeypatch.setattr(task, "gradient", gradient)


def numbers(folder: Path) -> np.ndarray:
    (metrics,) = folder.rglob("metrics.jsonl")
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    return np.array([[row["train"]["loss"], row["train"]["gradient_norm"]] for row in rows])


def test_training(twice):
    """Three steps of two batches with a moving average; draws are numpy's, so the losses are those of the CPU."""
    folders, record = twice([*TRAIN, "saver.output_path=OUT"])
    ours, theirs = numbers(folders[1]), numbers(folders[0])
    assert ours.shape == (3, 2)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    assert record.seen["ops.Adam"] and record.seen["ops.AssignAdd"] and record.seen["ops.grid_sample"]
    states = [read_tensors(next(folder.rglob("train_resume.ckpt"))) for folder in folders]
    assert states[0].keys() == states[1].keys()


def test_deferred_training(twice):
    folders, record = twice([*TRAIN, "train.deferred_region=8", "train.use_recompute=true", "saver.output_path=OUT"])
    assert len(numbers(folders[1])) == 3
    np.testing.assert_allclose(numbers(folders[1]), numbers(folders[0]), rtol=1e-3)
    assert record.seen["ops.grid_sample"]


@pytest.mark.parametrize(("precision", "most", "mean"), [("fp32", 1, 0.1), ("auto", 20, 1)])
def test_inference(twice, precision, most, mean):
    """In float32; and with bfloat16 products on the NPU, whose rounding moves samples of a steep random field."""
    command = ["infer.lrm", f"model_name={GOLDEN}", f"image_input={MUG}", "source_size=56", "device_target=CPU"]
    command.append(f"precision={precision}")
    sizes = [
        "render_size=24",
        "render_views=2",
        "export_video=true",
        "video_format=png",
        "export_mesh=true",
        "mesh_size=24",
        "mesh_thres=3",
    ]
    folders, record = twice([*command, *sizes, "video_dump=OUT/videos", "mesh_dump=OUT/meshes"])
    names = [sorted(p.relative_to(f) for p in f.rglob("*.png")) for f in folders]
    assert names[0] == names[1] and len(names[0]) == 2
    for name in names[0]:
        ours, theirs = (iio.imread(folder / name).astype(int) for folder in (folders[1], folders[0]))
        assert np.abs(ours - theirs).max() <= most and np.abs(ours - theirs).mean() <= mean, "in steps of 8 bits"
    assert record.seen["ops.grid_sample"] and record.seen["ops.sort"]


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", 1e-3), ("auto", 0.05)])
def test_evaluation(twice, tmp_path, precision, allowed):
    sample, data = REPO / "assets" / "sample_object" / "food_dinner", tmp_path / "data"
    for part in ("rgba", "pose"):
        (data / "food" / part).mkdir(parents=True)
    shutil.copy(sample / "intrinsics.npy", data / "food")
    for view in range(3):
        for name in (f"rgba/{view:03d}.png", f"pose/{view:03d}.npy"):
            shutil.copy(sample / name, data / "food" / name)
    (data / "meta.json").write_text('["food"]')
    command = ["eval.lrm", f"model_path={GOLDEN}", "source_size=56", "render_size=16", "lpips_backbone=none"]
    command.append(f"precision={precision}")
    folders, record = twice([*command, "device_target=CPU", f"data_root={data}", "output_path=OUT"])
    results = [json.loads(next(folder.rglob("metrics.json")).read_text()) for folder in folders]
    ours, theirs = (result["mean"]["with_input_view"]["psnr"] for result in results)
    assert abs(ours - theirs) < allowed
    assert record.seen["ops.grid_sample"]
