"""Folders as eval.lrm and train.lrm leave them, made of a few numbers."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image


def figures(psnr):
    return {"psnr": psnr, "psnr_object": psnr - 10, "ssim": 0.9, "lpips": None, "mask_iou": 0.8}


def draw(path, size=(1400, 40), colour=(200, 30, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def make_evaluation(tmp_path):
    """Write an evaluation: uid -> PSNR in dB."""

    def make(name, objects, protocol=None, failed=None, **more):
        folder = tmp_path / name
        entries = {}
        for uid, psnr in objects.items():
            views = [{"view": view} | figures(psnr + 1 - view) for view in range(3)]
            entries[uid] = {"in_training": uid.startswith("seen"), "views": views}
            entries[uid] |= {"without_input_view": figures(psnr), "with_input_view": figures(psnr + 1)}
            entries[uid] |= {"input_copied": figures(psnr - 5), "seconds_planes": 0.5, "seconds_render": 2.0}
            draw(folder / "sheets" / f"{uid}.png")
        average = float(np.mean(list(objects.values())))
        mean = {"without_input_view": figures(average), "with_input_view": figures(average + 1)}
        mean |= {"input_copied": figures(average - 5), "seconds_planes": 0.5, "seconds_render": 2.0}
        metrics = {"model": "small", "weights": "w.ckpt", "input_view_counts": False, "mean": mean}
        metrics |= {"objects": entries, "failed": failed or {}} | more
        (folder / "metrics.json").write_text(json.dumps(metrics))
        (folder / "protocol.yaml").write_text(yaml.safe_dump(protocol or {"views": {"size": 64}}))
        return folder

    return make


@pytest.fixture
def make_run(tmp_path):
    """Write a training run: its records, and a picture of every step in `pictures`."""

    def make(name, records, pictures=(), **config):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "cfg.yaml").write_text(yaml.safe_dump({"saver": {"name": name}, "train": {"epochs": 3} | config}))
        (folder / "manifest.json").write_text(json.dumps({"seed": 42, "code": "abc"}))
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        for step in pictures:
            draw(folder / "validation" / f"{step:07d}.png", (64, 32))
        return folder

    return make
