"""An adapter wherever a model is: the Python API, infer.lrm, eval.lrm; plain, fused and merged are one model."""

import json

import numpy as np
import pytest
from mindspore import Tensor

import openlrm
from openlrm import ModelLRM, launch
from openlrm.cameras import Camera, orbit
from openlrm.checkpoint.adapter import save_adapter
from openlrm.errors import UserError
from openlrm.nn.transformer import lora

pytestmark = pytest.mark.usefixtures("pynative")


@pytest.fixture(scope="module")
def demo(repo):
    return str(repo / "assets" / "openlrm-tiny-demo")


@pytest.fixture(scope="module")
def adapter(demo, tmp_path_factory):
    """A rank-2 adapter of the demonstration model that changes its pictures."""
    from openlrm.ops import setup_device

    setup_device("CPU", 1)
    model = ModelLRM.from_pretrained(demo)
    random = np.random.default_rng(5)
    for layer in lora.attach_new(model, rank=2, seed=1).values():
        layer.lora_A.set_data(Tensor(random.standard_normal(layer.lora_A.shape).astype(np.float32)))
        layer.lora_B.set_data(Tensor(0.1 * random.standard_normal(layer.lora_B.shape).astype(np.float32)))
    folder = tmp_path_factory.mktemp("adapters") / "mine"
    save_adapter(model, folder, "openlrm-tiny-demo")
    return folder


@pytest.fixture(scope="module")
def picture(repo):
    return str(repo / "assets" / "sample_input" / "building_g.png")


def frames(scene) -> np.ndarray:
    cameras = Camera(np.stack([orbit(angle, 20, 2.0) for angle in (0, 130)]))
    return np.stack([view.rgb for view in scene.views(cameras, 24)])


def test_plain_fused_merged_and_attached_give_the_same_frames(demo, adapter, picture):
    bare = openlrm.load_model(demo, "CPU")
    adapted = openlrm.load_model(demo, "CPU", adapter=adapter)
    assert adapted.model.transformer.fits_host  # the fused layers of inference read the weights themselves
    expected = frames(adapted(picture))
    assert np.abs(expected - frames(bare(picture))).max() > 0.05

    merged = ModelLRM.from_pretrained(demo, adapter=str(adapter))
    merged.merge_adapter()
    assert not lora.adapters_of(merged)
    bare.model = merged
    np.testing.assert_allclose(frames(bare(picture)), expected, atol=1e-5)

    image, camera = Tensor(bare.prepare(picture)), Tensor(Camera.canonical().source_record()[None])
    fused = adapted.model.set_train(False).forward_planes(image, camera).asnumpy()
    plain = adapted.model.set_train(True).forward_planes(image, camera).asnumpy()
    adapted.model.set_train(False)
    np.testing.assert_allclose(fused, plain, atol=1e-5 * np.abs(plain).max())


def test_reconstruct_with_an_adapter(demo, adapter, picture):
    scene = openlrm.reconstruct(picture, demo, recentre=False, device_target="CPU", adapter=adapter)
    loaded = openlrm.load_model(demo, "CPU", adapter=adapter)
    np.testing.assert_array_equal(frames(scene), frames(openlrm.reconstruct(picture, loaded, recentre=False)))


def test_reconstruct_refuses_an_adapter_for_a_loaded_model(demo, adapter, picture):
    with pytest.raises(UserError, match="the model is loaded already"):
        openlrm.reconstruct(picture, openlrm.load_model(demo, "CPU"), adapter=adapter)


def test_infer_and_eval_with_an_adapter(demo, adapter, picture, repo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    infer = ["infer.lrm", f"model_name={demo}", f"image_input={picture}", "export_planes=true", "device_target=CPU"]
    assert launch.main([*infer, f"adapter={adapter}"]) == 0
    scene = openlrm.load_scene("dumps/openlrm-tiny-demo+mine/planes/building_g.safetensors", "CPU")
    expected = openlrm.load_model(demo, "CPU", adapter=adapter)(picture)
    np.testing.assert_array_equal(scene.planes.asnumpy(), expected.planes.asnumpy())

    measure = ["eval.lrm", f"model_path={demo}", f"data_root={repo / 'assets' / 'sample_object'}", "render_size=16",
               "lpips_backbone=none", "device_target=CPU", "output_path=found"]  # fmt: skip
    assert launch.main(measure) == launch.main([*measure, f"adapter={adapter}"]) == 0
    bare, adapted = (json.loads((tmp_path / "found" / name / "metrics.json").read_text()) for name in
                     ("release", "release+mine"))  # fmt: skip
    assert abs(adapted["mean"]["without_input_view"]["psnr"] - bare["mean"]["without_input_view"]["psnr"]) > 0.1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["infer.lrm", "model_name={demo}", "image_input={picture}", "export_planes=true", "adapter={tmp}"],
         "the adapter has no adapter_config.json"),
        (["infer.lrm", "model_name={golden}", "image_input={picture}", "export_planes=true", "adapter={adapter}"],
         "the adapter belongs to other weights"),
        (["infer.lrm", "planes_input={tmp}/x.safetensors", "export_mesh=true", "adapter={adapter}"],
         "planes_input replaces model_name, adapter"),
        (["eval.lrm", "model_path={demo}", "data_root={data}", "adapter={tmp}/none"], "adapter not found"),
    ],
)  # fmt: skip
def test_refused_in_one_line(command, message, demo, adapter, picture, repo, golden_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    places = {"demo": demo, "picture": picture, "tmp": tmp_path, "adapter": adapter, "golden": golden_dir}
    places["data"] = repo / "assets" / "sample_object"
    more = ["device_target=CPU", "logger=error"]
    assert launch.main([word.format(**places) for word in command] + more) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
