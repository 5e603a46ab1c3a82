"""diagnose.* through the command line, with the miniature model and the sample object, as small as it gets."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from openlrm import launch
from openlrm.config import load_config
from openlrm.diagnosis.config import EXPERIMENTS, AllConfig

pytestmark = pytest.mark.usefixtures("pynative")

SMALL = [
    "uids=food_dinner", "source_size=56", "device_target=CPU", "render_size=16", "num_views=2", "num_iters=6",
    "views_per_step=1", "grid_size=24", "num_bands=4", "noise_seeds=2", "amplitudes=0.1,0.5", "cutoffs=0.3",
    "null_directions=3", "probes=2", "exact_size=2", "refine_iters=3", "num_train_views=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def objects(repo):
    return repo / "assets" / "sample_object"


def chain(golden_dir, objects, output, *more):
    return ["diagnose.all", f"model_name={golden_dir}", f"data_root={objects}", f"output={output}", *SMALL, *more]


def test_preset_is_smaller():
    full, quick = AllConfig(), AllConfig(preset="quick").with_preset()
    assert full.with_preset() == full
    assert quick.num_iters < full.num_iters and quick.refine_iters < full.refine_iters


@pytest.fixture(scope="module")
def made(golden_dir, objects, tmp_path_factory):
    """A whole chain, both cameras."""
    from openlrm.ops import setup_device

    setup_device("CPU", 1)
    folder = tmp_path_factory.mktemp("chain")
    assert launch.main(chain(golden_dir, objects, folder)) == 0
    return folder


def figures(folder, experiment):
    return json.loads((folder / experiment / f"food_dinner_{experiment}.json").read_text(encoding="utf-8"))


def test_the_chain(made):
    for place in (made, made / "canonical"):
        for experiment in EXPERIMENTS:
            found = figures(place, experiment)
            assert found["protocol"]["source_camera"] == ("actual" if place == made else "canonical")
            assert found["figures"] and found["seconds"] >= 0
            with np.load(place / experiment / f"food_dinner_{experiment}.npz", allow_pickle=False) as arrays:
                assert all(np.isfinite(array).any() for array in arrays.values())
        assert not list(place.glob("*/unfinished/*"))
    oracle = figures(made, "oracle")["figures"]
    assert oracle["psnr"]["predinit"]["fitted"] > oracle["psnr"]["pred"]["fitted"]
    assert oracle["views_kept"] == 8 and len(oracle["coherence"]["bands"]) == 4
    assert figures(made, "decomposition")["figures"]["corrected"]["all"] == 0


def test_the_page(made):
    page = (made / "report.html").read_text(encoding="utf-8")
    assert "nothing here decides a claim about mix-base" in page
    assert page.count("<h2>Experiments") == 2 and "What is left when the model is told the true camera" in page
    for number in range(1, 13):
        assert f"<td>{number}. " in page
    assert (
        "not decided" in page
        and 'src="data:image' in page
        and "http" not in page.split("</head>")[1].replace("http://www.w3.org/2000/svg", "")
    )
    (made / "report.html").unlink()
    assert launch.main(["report", str(made)]) == 0
    assert (made / "report.html").read_text(encoding="utf-8") == page


def test_what_is_done_is_left_alone(made, golden_dir, objects):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*.json")}
    assert launch.main(chain(golden_dir, objects, made)) == 0
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*.json")} == before


def one(golden_dir, objects, output, experiment, *more):
    options = [f"model_name={golden_dir}", f"data_root={objects}", f"output={output}", *SMALL[:5]]
    replaced = {option.split("=")[0] for option in more}
    return [f"diagnose.{experiment}", *(o for o in options if o.split("=")[0] not in replaced), *more]


def test_same_seed_same_bytes(golden_dir, objects, tmp_path):
    texts = []
    for name in ("a", "b"):
        options = ["num_iters=3", "views_per_step=2"]
        assert launch.main(one(golden_dir, objects, tmp_path / name, "oracle", *options)) == 0
        assert launch.main(one(golden_dir, objects, tmp_path / name, "correction")) == 0
        found = [figures(tmp_path / name, experiment) for experiment in ("oracle", "correction")]
        texts.append(json.dumps([{k: v for k, v in entry.items() if k != "seconds"} for entry in found]))
    assert texts[0] == texts[1]


def test_a_killed_fit_goes_on(golden_dir, objects, tmp_path, repo):
    options = ["num_iters=40", "init=pred", "repeats=1", "views_per_step=1", "logger=warning"]
    command = [sys.executable, "-m", "openlrm.launch", *one(golden_dir, objects, tmp_path / "a", "oracle", *options)]
    process = subprocess.Popen(command, cwd=repo, env=os.environ | {"PYTHONPATH": str(repo)}, stderr=subprocess.DEVNULL)
    begun = tmp_path / "a" / "oracle" / "unfinished" / "food_dinner_predinit" / "metrics.jsonl"
    end = time.monotonic() + 120
    while not begun.is_file() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130 and (begun.parent / "ckpt" / "train_resume.ckpt").is_file()
    assert not list(tmp_path.glob("a/oracle/*.json"))
    for name in "ab":
        assert launch.main(one(golden_dir, objects, tmp_path / name, "oracle", *options)) == 0
    assert figures(tmp_path / "a", "oracle")["figures"] == figures(tmp_path / "b", "oracle")["figures"]


def test_dry_run(golden_dir, objects, tmp_path, capsys):
    assert launch.main(chain(golden_dir, objects, tmp_path / "x", "--dry_run")) == 0
    assert "# time of the oracle: about" in capsys.readouterr().out and not (tmp_path / "x").exists()


@pytest.fixture
def reference(made, tmp_path):
    """A copy of the reference, to spoil: change(tensors, metadata) -> file."""
    from safetensors import safe_open

    source = made / "oracle" / "food_dinner_triplane_predinit.safetensors"

    def spoil(change):
        with safe_open(source, "np") as file:
            metadata = file.metadata()
        tensors = load_file(source)
        change(tensors, metadata)
        path = tmp_path / "spoilt.safetensors"
        save_file(tensors, path, metadata)
        return path

    return spoil


def nan(tensors, metadata):
    tensors["t_ref"][0, 0, 0, 0] = np.nan


def equal(tensors, metadata):
    tensors["t_ref"] = tensors["t_pred"].copy()


def cut(tensors, metadata):
    tensors["t_ref"] = tensors["t_ref"][..., :-1].copy()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nan, "t_ref holds NaN or infinity"),
        (equal, "t_pred and t_ref are equal"),
        (cut, "the planes belong to another model"),
        (lambda t, m: m.update(model_hash="0"), "the planes belong to other weights"),
        (lambda t, m: m.update(uid="mug"), "the planes are of mug, not of food_dinner"),
        (lambda t, m: m.update(format="other"), "not a file of reference planes"),
    ],
)
def test_references_that_cannot_be_used(golden_dir, objects, tmp_path, reference, capsys, change, message):
    command = one(golden_dir, objects, tmp_path / "out", "spectrum", f"triplane_path={reference(change)}")
    assert launch.main(command) == 2
    assert message in capsys.readouterr().err.splitlines()[-1] and not list(tmp_path.glob("out/*/*"))


@pytest.mark.parametrize(
    ("experiment", "more", "message"),
    [
        ("spectrum", [], "no reference planes of food_dinner"),
        ("spectrum", ["triplane_path=x_triplane.pt"], "is a pickle, which could run anything"),
        ("oracle", ["kept_views=32"], "kept_views=32, but the object has 32 views"),
        ("oracle", ["source_view=32"], "source_view=32, but food_dinner has views 0 to 31"),
        ("oracle", ["uids=nobody"], "no object 'nobody'"),
        ("oracle", ["adapter=nowhere"], "adapter not found"),
    ],
)
def test_refused_in_one_line(golden_dir, objects, tmp_path, capsys, experiment, more, message):
    assert launch.main(one(golden_dir, objects, tmp_path / "out", experiment, "logger=error", *more)) == 2
    assert message in capsys.readouterr().err.splitlines()[-1] and not list(tmp_path.glob("out/*/*.json"))


@pytest.mark.parametrize(
    ("experiment", "more", "message"),
    [
        ("correction", ["cutoff=0"], "a cutoff of 0 does not cut"),
        ("correction", ["num_views=33"], "33 views are asked for, but there are 32"),
        ("transfer", ["num_bands=40"], "holds"),
        ("refine", ["variants=tokens_lpips"], "LPIPS"),
        ("refine", ["num_train_views=32"], "leaves none held out"),
        ("spectrum", ["num_views=5"], "a result with other options is there: num_views 2 -> 5"),
    ],
)
def test_refused_with_a_reference(made, golden_dir, objects, tmp_path, capsys, experiment, more, message):
    for path in made.glob("oracle/*.safetensors"):
        (tmp_path / "oracle").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "oracle")
    if experiment == "spectrum":
        shutil.copytree(made / "spectrum", tmp_path / "spectrum")
    before = sorted(tmp_path.rglob("*.json"))
    assert launch.main(one(golden_dir, objects, tmp_path, experiment, *more)) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert sorted(tmp_path.rglob("*.json")) == before


def test_a_pickle_beside_the_file_means_the_file(made, golden_dir, objects, tmp_path):
    source = made / "oracle" / "food_dinner_triplane_predinit.safetensors"
    shutil.copy(source, tmp_path)
    command = one(
        golden_dir, objects, tmp_path / "out", "spectrum", f"triplane_path={tmp_path}/food_dinner_triplane.pt"
    )
    assert launch.main(command) == 0


def test_config_of_the_demonstration_loads(repo):
    path = repo / "configs" / "diagnose-demo.yaml"
    assert f"diagnose.all --config configs/{path.name}" in path.read_text(encoding="utf-8")
    assert len(load_config(AllConfig, [path]).uids) == 8
