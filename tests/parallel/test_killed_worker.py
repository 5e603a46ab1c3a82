"""One of two workers is killed: the job ends with an error, and one process goes on from the last checkpoint."""

import contextlib
import time
from pathlib import Path

import psutil
import pytest

from openlrm.checkpoint import read_tensors
from openlrm.launch import main

REPO = Path(__file__).resolve().parents[2]
TRAIN = [
    "train.lrm",
    "--config",
    "configs/train-sample-debug.yaml",
    "--device_target=CPU",
    "data.render_region_size=8",
    "data.render_image_low=12",
    "data.render_image_high=16",
    "model.rendering_samples_per_ray=8",
    "val.val_interval=0",
    "report.watch_interval=0",
    "report.image_interval=0",
    "train.batch_size=1",
]


def members(job) -> dict[str, psutil.Process]:
    """The job's scheduler and workers, by role and number."""
    found = {}
    for process in psutil.Process(job.pid).children():
        if process.name() != "tail":
            environment = process.environ()
            worker = environment.get("MS_ROLE") == "MS_WORKER"
            found[f"worker {environment['MS_NODE_ID']}" if worker else "scheduler"] = process
    return found


def wait_for(what, job, folder, said, seconds=900):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        assert job.poll() is None, said(folder)
        time.sleep(0.1)
    pytest.fail(said(folder))


def test_killed_worker_ends_the_job_and_training_goes_on(tmp_path, msrun, said, monkeypatch):
    monkeypatch.chdir(REPO)
    logs = tmp_path / "logs"
    endless = [*TRAIN, f"saver.output_path={tmp_path}", "train.train_steps=1000000", "saver.ckpt_save_steps=2"]
    job = msrun(logs, "-m", "openlrm.launch", *endless, "--use_parallel=true")
    wait_for(lambda: list(tmp_path.glob("debug/*/ckpt/train_resume.prev.ckpt")), job, logs, said)
    processes = members(job)
    processes["worker 1"].kill()
    gone, alive = psutil.wait_procs([processes["worker 0"]], timeout=120)
    assert gone and not alive, "the other worker is still waiting"
    # It ends by itself after 30 s without a sign of the workers.
    with contextlib.suppress(psutil.NoSuchProcess):
        processes["scheduler"].kill()
    assert job.wait(timeout=120) != 0
    assert "exit with exception. Error code: -9" in (logs / "msrun.log").read_text()

    (run,) = (tmp_path / "debug").iterdir()
    saved = int(read_tensors(run / "ckpt" / "train_resume.ckpt")["global_step"][0])
    assert saved >= 2 and saved % 2 == 0
    more = ["train.batch_size=2", f"train.train_steps={saved + 1}"]
    assert main(["train.lrm", "--config", f"{run}/cfg.yaml", "--resume", str(run), "use_parallel=false", *more]) == 0
    assert int(read_tensors(run / "ckpt" / "train_resume.ckpt")["global_step"][0]) == saved + 1
    assert not list((run / "ckpt").glob(".tmp-*"))
