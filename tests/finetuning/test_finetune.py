"""finetune.* through the command line, with the miniature model and two copies of the sample object."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from openlrm import launch
from openlrm.config import load_config
from openlrm.diagnosis.objects import kept_views, spread_views, tuning_views
from openlrm.finetuning.config import FullConfig, LoRAConfig
from openlrm.finetuning.ranks import best_rank

pytestmark = pytest.mark.usefixtures("pynative")


@pytest.fixture(scope="module")
def objects(repo, tmp_path_factory):
    """Three names of one object, as small as it gets: eight views."""
    root = tmp_path_factory.mktemp("objects")
    source = repo / "assets" / "sample_object" / "food_dinner"
    for name in ("one", "two", "three"):
        for kind, suffix in (("rgba", "png"), ("pose", "npy")):
            (root / name / kind).mkdir(parents=True)
            for view in range(8):
                shutil.copy(source / kind / f"{4 * view:03d}.{suffix}", root / name / kind / f"{view:03d}.{suffix}")
        shutil.copy(source / "intrinsics.npy", root / name)
    return root


@pytest.fixture
def command(objects, golden_dir, tmp_path):
    def words(name, *more):
        options = [f"model_name={golden_dir}", f"data_root={objects}", "train_uids=one,two", "val_uids=three",
                   "render_size=16", "num_train_views=2", "source_size=56", "device_target=CPU",
                   f"output={tmp_path / name}"]  # fmt: skip
        replaced = {option.split("=")[0] for option in more}
        return [f"finetune.{name}", *(o for o in options if o.split("=")[0] not in replaced), *more]

    return words


def results(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def without_times(found):
    return {key: value for key, value in found.items() if key not in ("seconds", "config")}


def test_lora(command, tmp_path, golden_dir):
    more = ["steps=4", "val_interval=2", "lr=0.01", "rank=2"]
    assert launch.main(command("lora", *more)) == 0
    found = results(tmp_path / "lora")
    for arm in ("lora_std", "lora_freq"):
        assert found[arm]["base_unchanged"] and found[arm]["steps"] == 4
        assert found[arm]["counts"]["adapter"] == found[arm]["trained_numbers"] == 4 * 2 * 2 * 64  # 4 L r d
        assert [row["step"] for row in found["history"][arm]] == [2, 4]
        assert found[arm]["gain"]["l1"] == pytest.approx(found[arm]["mean"]["l1"] - found["baseline"]["l1"])
        assert (tmp_path / "lora" / arm / "adapter" / "adapter_config.json").is_file()
    assert found["lora_std"]["mean"] != found["lora_freq"]["mean"] != found["baseline"]
    assert set(found["paired_over_objects"]["l1"]) >= {"difference", "p_value", "unpaired_std"}
    assert (tmp_path / "lora" / "vis_three.png").is_file() and (tmp_path / "lora" / "convergence.html").is_file()
    # Arms share their first A: only B differs before the first step, and A moves little.
    key = "base_model.model.transformer.layers.0.self_attn.out_proj.lora_A.weight"
    first, second = (load_file(tmp_path / "lora" / arm / "adapter" / "adapter_model.safetensors")[key]
                     for arm in ("lora_std", "lora_freq"))  # fmt: skip
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.5

    assert launch.main(command("lora", *more, f"output={tmp_path / 'again'}")) == 0
    assert without_times(results(tmp_path / "again")) == without_times(found)
    assert launch.main(command("lora", *more)) == 0  # what is there is read
    assert without_times(results(tmp_path / "lora")) == without_times(found)
    assert launch.main(command("lora", *more[:-1], "rank=3")) == 2  # other options


def test_full_and_compare(command, tmp_path):
    assert launch.main(command("full", "steps=2", "arms=std", "lr=0.001")) == 0
    assert launch.main(command("lora", "steps=2", "arms=std")) == 0
    full = results(tmp_path / "full")["full_std"]
    assert full["mean"] != results(tmp_path / "full")["baseline"] and "base_unchanged" not in full
    tensors = load_file(tmp_path / "full" / "full_std" / "model" / "model.safetensors")
    assert full["trained_numbers"] == sum(v.size for k, v in tensors.items() if not k.startswith("encoder."))
    runs = f"runs={tmp_path / 'full'},{tmp_path / 'lora'}"
    assert launch.main(["finetune.compare", runs, f"output={tmp_path / 'compare'}"]) == 0
    page = (tmp_path / "compare" / "compare.html").read_text(encoding="utf-8")
    assert "full_std" in page and "lora_std" in page and (tmp_path / "compare" / "three.png").is_file()


def test_ranks(command, tmp_path):
    assert launch.main(command("ranks", "ranks=1,2", "seeds=1,2", "steps=1")) == 0
    found = results(tmp_path / "ranks")
    assert found["parameters"] == {"r1": 512, "r2": 1024}
    assert found["cells"]["r1"]["std"]["psnr"]["count"] == 2 and found["paired"]["r2"]["l1"]["difference"]["count"] == 2
    assert len(found["runs"]) == 8 and (tmp_path / "ranks" / "ranks.html").is_file()


def test_a_rank_is_best_only_if_its_interval_is_clear():
    cell = {"mean": 1.0, "low": 0.9, "high": 1.1}
    assert best_rank({2: cell, 4: {"mean": 0.5, "low": 0.4, "high": 0.6}}, "l1")["rank"] == 4
    assert best_rank({2: cell, 4: {"mean": 0.9, "low": 0.8, "high": 1.0}}, "l1")["rank"] is None
    assert best_rank({2: {"mean": 1.0, "low": None, "high": None}}, "l1")["rank"] is None


def test_stop_drop_ends_the_run_and_keeps_the_best(command, tmp_path, capsys):
    more = ["steps=40", "lr=1", "stop_drop=0.2", "val_interval=1", "arms=std"]
    assert launch.main(command("lora", *more)) == 2
    assert "lora_std was ended: validation PSNR" in capsys.readouterr().err.splitlines()[-1]
    found = results(tmp_path / "lora")["lora_std"]
    assert found["steps"] < 40 and found["base_unchanged"]
    assert found["mean"]["psnr"] >= found["history"][0]["psnr"] - 1e-9  # not what it had fallen to


def test_a_killed_run_goes_on(command, tmp_path, repo):
    more = ["steps=12", "val_interval=4", "arms=freq", "logger=warning"]
    environment = os.environ | {"PYTHONPATH": str(repo)}
    words = [sys.executable, "-m", "openlrm.launch", *command("lora", *more)]
    process = subprocess.Popen(words, cwd=repo, env=environment, stderr=subprocess.DEVNULL)
    state = tmp_path / "lora" / "lora_freq" / "ckpt" / "train_resume.ckpt"
    end = time.monotonic() + 120
    while not state.is_file() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert state.is_file() and not (tmp_path / "lora" / "results.json").exists()
    assert launch.main(command("lora", *more)) == 0
    assert launch.main(command("lora", *more, f"output={tmp_path / 'whole'}")) == 0
    resumed, whole = (results(tmp_path / name)["lora_freq"] for name in ("lora", "whole"))
    assert resumed["mean"] == whole["mean"] and resumed["steps"] == 12


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["val_uids=one"], "1 objects are tuned on and measured: one"),
        (["num_train_views=9"], "9 views are asked for, but there are 8"),
        (["num_train_views=8"], "num_train_views=8 of 8 leaves none to measure"),
        (["source_view=8"], "source_view=8, but one has views 0 to 7"),
        (["rank=65"], "rank=65 of an adapter on outputs 64 wide"),
        (["rank=0"], "rank=0 is not int >= 1"),
        (["freq_cutoff=0"], "a cutoff of 0 does not cut"),
        (["freq_cutoff=1.5"], "a cutoff of 1.5 does not cut"),
        (["lpips_backbone=none.safetensors"], "none.safetensors"),
        (["train_uids=nobody"], "nobody"),
    ],
)
def test_refused_in_one_line(command, tmp_path, capsys, more, message):
    assert launch.main(command("lora", "steps=1", "logger=error", *more)) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]
    assert not list(tmp_path.glob("lora/*/*"))


def test_dry_run_times_a_step_and_writes_nothing(command, tmp_path, capsys):
    assert launch.main(command("lora", "--dry_run")) == 0
    out = capsys.readouterr().out
    assert "# time: about" in out and "2 runs like this one: lora_std, lora_freq" in out and "rank: 4" in out
    assert not (tmp_path / "lora").exists()


def test_views_of_the_protocol(freq_golden):
    train, measured = tuning_views(32, 4)
    np.testing.assert_array_equal(train, freq_golden["views/finetune_train"])
    np.testing.assert_array_equal(measured, freq_golden["views/finetune_eval"])
    np.testing.assert_array_equal(spread_views(32, 8), freq_golden["views/diagnostic"])
    fitted, kept = kept_views(32, 8)
    assert len(kept) == 8 and not set(kept) & set(fitted) and 0 in fitted


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_configs_load(repo, kind):
    path = repo / "configs" / f"finetune-{kind}-demo.yaml"
    assert f"finetune.{kind} --config configs/{path.name}" in path.read_text(encoding="utf-8")
    config = load_config({"lora": LoRAConfig, "full": FullConfig}[kind], [path])
    assert (
        len(config.train_uids) == 18 and len(config.val_uids) == 6 and not set(config.train_uids) & set(config.val_uids)
    )
