"""Two workers do what one process does: training, resumed training, inference and evaluation, in one job of msrun."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file

from openlrm.checkpoint import read_tensors
from openlrm.launch import main

REPO = Path(__file__).resolve().parents[2]
GOLDEN = REPO / "openlrm" / "families" / "lrm" / "golden"
SAMPLE = REPO / "assets" / "sample_object" / "food_dinner"
STEPS, SAVED = 5, 3
TRAIN = [
    "train.lrm",
    "--config",
    "configs/train-sample-debug.yaml",
    "--device_target=CPU",
    "data.render_region_size=8",
    "data.render_image_low=12",
    "data.render_image_high=16",
    "model.rendering_samples_per_ray=10",  # 5 of a pass: slices of the draws begin at odd numbers
    f"train.train_steps={STEPS}",
    f"saver.ckpt_save_steps={SAVED}",
    "train.scheduler.warmup_steps=0",
    "train.scheduler.scheduler=constant",
    "train.use_ema=true",
    "val.val_interval=0",
    "report.watch_interval=0",
    "report.image_interval=0",
]
ONE, TWO = "train.batch_size=2", "train.batch_size=1"
INFER = ["infer.lrm", f"model_name={GOLDEN}", "source_size=56", "export_planes=true", "device_target=CPU"]
EVAL = ["eval.lrm", f"model_path={GOLDEN}", "source_size=56", "render_size=16", "lpips_backbone=none"]


def the_run(output: Path) -> Path:
    (folder,) = (output / "debug").iterdir()
    return folder


def state(folder: Path) -> dict[str, np.ndarray]:
    return read_tensors(folder / "ckpt" / "train_resume.ckpt")


def set_back(run: Path, copy: Path) -> Path:
    """A copy of a finished run that stands at its state before the last."""
    shutil.copytree(run, copy)
    os.replace(copy / "ckpt" / "train_resume.prev.ckpt", copy / "ckpt" / "train_resume.ckpt")
    assert state(copy)["global_step"] == SAVED
    return copy


def resume(folder: Path, *more: str) -> list[str]:
    return ["train.lrm", "--config", f"{folder}/cfg.yaml", "--resume", str(folder), *more]


def write_objects(root: Path) -> Path:
    """Three objects of two views, one of them broken."""
    for number, name in enumerate("abc"):
        for part in ("rgba", "pose"):
            (root / name / part).mkdir(parents=True)
        shutil.copy(SAMPLE / "intrinsics.npy", root / name)
        for view in range(2):
            shutil.copy(SAMPLE / "rgba" / f"{3 * number + view:03d}.png", root / name / "rgba" / f"{view:03d}.png")
            shutil.copy(SAMPLE / "pose" / f"{3 * number + view:03d}.npy", root / name / "pose" / f"{view:03d}.npy")
    (root / "b" / "rgba" / "001.png").write_bytes(b"no picture")
    (root / "meta.json").write_text(json.dumps(list("abc")))
    return root


def write_pictures(folder: Path) -> Path:
    folder.mkdir()
    for name in ("knight", "mug_full"):
        shutil.copy(REPO / "assets" / "sample_input" / f"{name}.png", folder)
    shutil.copy(folder / "knight.png", folder / "again.png")
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory, msrun, said):
    """Everything by one process, then by two workers."""
    before = os.getcwd()
    os.chdir(REPO)
    top = tmp_path_factory.mktemp("parallel")
    one, two = top / "one", top / "two"
    objects, pictures = write_objects(top / "objects"), write_pictures(top / "pictures")

    def others(output: Path) -> list[list[str]]:
        return [
            [*INFER, f"image_input={pictures}", f"planes_dump={output}/planes"],
            [*EVAL, f"data_root={objects}", f"output_path={output}/eval", "device_target=CPU"],
        ]

    codes = [main(job) for job in ([*TRAIN, f"saver.output_path={one}", ONE], *others(one))]
    assert codes == [0, 0, 2]  # one object is broken
    jobs = [
        [*TRAIN, f"saver.output_path={two}/data", TWO, "--use_parallel", "true"],
        [*TRAIN, f"saver.output_path={two}/optim", TWO, "--parallel_mode", "optim"],
        resume(set_back(the_run(one), top / "from one"), TWO, "parallel_mode=optim"),
        ["--terminate", *TRAIN, f"saver.output_path={two}/stopped", TWO],
        resume(the_run(one), ONE),
        *others(two),
    ]
    (top / "jobs.json").write_text(json.dumps(jobs))
    process = msrun(top / "logs", Path(__file__).with_name("two_workers.py"), top, top / "jobs.json")
    code = process.wait()
    os.chdir(before)
    assert code == 0, said(top / "logs")
    found = [json.loads((top / f"codes-{rank}.json").read_text()) for rank in range(2)]
    logs = [(top / "logs" / f"worker_{rank}.log").read_text() for rank in range(2)]
    return SimpleNamespace(top=top, one=one, two=two, codes=found, logs=logs)


def assert_same_numbers(folder: Path, reference: Path) -> None:
    ours, theirs = state(folder), state(reference)
    assert set(ours) == set(theirs)
    for name in set(theirs) - {"optimizer.crc32"}:
        value = theirs[name]
        np.testing.assert_allclose(ours[name], value, rtol=0, atol=1e-5, err_msg=name)
    assert ours["global_step"] == STEPS


def test_jobs_end_as_with_one_process(done):
    refused, broken_object = 2, 2
    assert done.codes == [[0, 0, 0, 0, refused, 0, broken_object]] * 2


@pytest.mark.parametrize("mode", ["data", "optim"])
def test_training_is_that_of_one_process_with_twice_the_batch(done, mode):
    first = read_tensors(the_run(done.one) / "ckpt" / "train_resume.prev.ckpt")
    last = state(the_run(done.one))
    moved = max(np.abs(last[name] - first[name]).max() for name in last if name.startswith("transformer"))
    assert moved > 1e-4  # ten times what is allowed below
    assert_same_numbers(the_run(done.two / mode), the_run(done.one))


def test_logged_loss_is_the_mean_over_the_workers(done):
    def losses(folder: Path) -> list[float]:
        records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return [record["train"]["loss"] for record in records]

    one, two = losses(the_run(done.one)), losses(the_run(done.two / "data"))
    assert len(one) == STEPS
    np.testing.assert_allclose(two, one, rtol=1e-5)


def test_one_worker_writes(done):
    folder = the_run(done.two / "data")
    assert json.loads((folder / "manifest.json").read_text())["workers"] == 2
    assert (folder / "log_0.txt").read_text().count("run folder") == 1
    assert "batch of 1 on each of 2 workers: 2 together" in (folder / "log_0.txt").read_text()


def test_a_run_of_one_process_goes_on_with_two_workers(done):
    assert_same_numbers(done.top / "from one", the_run(done.one))


def test_a_run_of_two_workers_goes_on_with_one_process(done, monkeypatch):
    monkeypatch.chdir(REPO)
    folder = set_back(the_run(done.two / "optim"), done.top / "from two")
    assert main(resume(folder, ONE, "use_parallel=false")) == 0
    assert_same_numbers(folder, the_run(done.one))


def test_another_batch_is_refused(done, capsys, monkeypatch):
    what = "a step of the run takes 2 objects (2 on each of 1 workers), not 4"
    assert all(what in log and "give train.batch_size=1" in log for log in done.logs)
    monkeypatch.chdir(REPO)
    assert main(resume(the_run(done.two / "data"), "use_parallel=false")) == 2
    assert "give train.batch_size=2" in capsys.readouterr().err


def test_a_signal_to_one_worker_stops_all_after_the_step(done):
    assert state(the_run(done.two / "stopped"))["global_step"] == 3
    assert "stopped at step 3 by signal 15" in (the_run(done.two / "stopped") / "log_0.txt").read_text()


def test_pictures_are_divided(done):
    names = {"again.safetensors", "knight.safetensors", "mug_full.safetensors"}
    assert {path.name for path in (done.two / "planes").iterdir()} == names
    for name in names:
        ours, theirs = load_file(done.two / "planes" / name), load_file(done.one / "planes" / name)
        np.testing.assert_array_equal(ours["planes"], theirs["planes"])
    written = [{name for name in names if f"wrote {done.two / 'planes' / name}" in log} for log in done.logs]
    assert written == [{"again.safetensors", "mug_full.safetensors"}, {"knight.safetensors"}]


def without_times(entry):
    if isinstance(entry, dict):
        return {key: without_times(value) for key, value in entry.items() if not key.startswith("seconds")}
    return entry


def test_evaluation_is_that_of_one_process(done):
    ours, theirs = (
        json.loads((output / "eval" / "release" / "metrics.json").read_text()) for output in (done.two, done.one)
    )
    assert list(ours["objects"]) == ["a", "c"] and set(ours["failed"]) == {"b"}
    assert without_times(ours) == without_times(theirs)
    assert {path.name for path in (done.two / "eval" / "release" / "sheets").iterdir()} == {"a.png", "c.png"}
    log = (done.two / "eval" / "release" / "log_0.txt").read_text()
    assert all(f"{uid}: " in log for uid in "abc")
