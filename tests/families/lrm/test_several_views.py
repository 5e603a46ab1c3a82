"""An LRM of several source pictures: at its start the model of one, then more than that."""

import json

import numpy as np
import pytest
from mindspore import Tensor

from openlrm import ModelLRM, launch
from openlrm.errors import UserError
from openlrm.families.lrm.config import LRMConfig
from openlrm.families.reconstructor import load_pretrained

VIEWS = 3
PARTS = ("view_tokens.linear.weight", "view_tokens.linear.bias")


@pytest.fixture
def several(mini, mini_config, pynative):
    """The golden model with room for three pictures."""
    model = ModelLRM(**mini_config, source_views=VIEWS)
    weights = dict(mini.parameters_and_names())
    for name, parameter in model.parameters_and_names():
        if name not in PARTS:
            parameter.set_data(weights[name])
    return model.set_train(False)


def scene(golden, views=VIEWS, seed=0):
    """Pictures (1, K, 3, S, S) and cameras (1, K, 16)."""
    random = np.random.default_rng(seed)
    image, camera = golden["image"][:1], golden["source_camera"][:1]
    images = np.concatenate([image, random.random((views - 1, *image.shape[1:]))]).astype(np.float32)
    cameras = np.concatenate([camera, camera + 0.3 * random.normal(size=(views - 1, 16))]).astype(np.float32)
    return images[None], cameras[None]


def planes(model, images, cameras):
    return model.forward_planes(Tensor(images), Tensor(cameras)).asnumpy()


def move(model, seed=1):
    """Take the modulation away from the identity."""
    random = np.random.default_rng(seed)
    for name in PARTS:
        parameter = dict(model.parameters_and_names())[name]
        parameter.set_data(Tensor(0.2 * random.normal(size=parameter.shape).astype(np.float32)))


def test_one_picture_is_todays_model(mini, several, golden):
    images, cameras = scene(golden)
    one = mini.forward_planes(Tensor(images[:, 0]), Tensor(cameras[:, 0])).asnumpy()
    np.testing.assert_array_equal(planes(several, images[:, :1], cameras[:, :1]), one)
    assert np.abs(planes(several, images, cameras) - one).max() > 1e-3, "the other pictures are seen"


def test_a_model_of_one_has_nothing_new(mini, mini_config):
    assert not any(name.startswith("view_tokens") for name, _ in mini.parameters_and_names())
    assert "source_views" not in mini.config_dict
    assert ModelLRM(**mini_config, source_views=2).config_dict["source_views"] == 2


def test_a_picture_belongs_to_its_camera(several, golden):
    """The others may come in any order with their cameras; a camera exchanged changes the planes."""
    move(several)
    images, cameras = scene(golden)
    whole = planes(several, images, cameras)
    order = [0, 2, 1]
    np.testing.assert_allclose(planes(several, images[:, order], cameras[:, order]), whole, atol=2e-5)
    assert np.abs(planes(several, images, cameras[:, order]) - whole).max() > 1e-3
    assert np.abs(planes(several, images[:, order], cameras) - whole).max() > 1e-3


def test_modes_agree(several, golden, mode):
    move(several)
    images, cameras = scene(golden)
    got = planes(several, images, cameras)
    several.set_train(True)  # the differentiable layers
    np.testing.assert_allclose(planes(several, images, cameras), got, atol=5e-5)


def test_saved_and_loaded(several, golden, tmp_path):
    move(several)
    several.save_pretrained(str(tmp_path))
    images, cameras = scene(golden)
    again = load_pretrained(str(tmp_path))
    np.testing.assert_array_equal(planes(again, images, cameras), planes(several, images, cameras))


def test_gradient_of_the_modulation(several, golden):
    """Against finite differences, at the identity, where it begins."""
    import mindspore as ms

    images, cameras = scene(golden)
    weight = several.view_tokens.linear.weight
    several.set_train(True)
    probe = Tensor(np.random.default_rng(2).normal(size=planes(several, images, cameras).shape).astype(np.float32))

    def loss():
        return (several.forward_planes(Tensor(images), Tensor(cameras)) * probe).sum()

    gradient = ms.value_and_grad(loss, None, ms.ParameterTuple([weight]))()[1][0].asnumpy()
    direction = gradient / np.linalg.norm(gradient)
    step, at = 1e-2, weight.asnumpy()
    ends = []
    for sign in (1, -1):
        weight.set_data(Tensor((at + sign * step * direction).astype(np.float32)))
        ends.append(float(loss().asnumpy()))
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(np.linalg.norm(gradient), rel=2e-2)


def test_kept_features_of_several_pictures(several, task_of):
    """Features of a frozen encoder, kept and computed: the loss and the gradients are the same."""
    several.set_train(True)
    found = []
    for kept in ({}, {"features_mib": 8}):
        task = task_of(several, freeze=["encoder.*"], **kept)
        _, _, batch = next(task.batches(0, 0, 1))
        assert batch.source_images.shape[1] == VIEWS
        result = task.gradient(batch, 0)
        found.append([result.parts["loss"], *(gradient.asnumpy() for gradient in result.gradients)])
    for one, other in zip(*found, strict=True):
        assert np.abs(one - other).max() <= 1e-4 * max(np.abs(one).max(), 1e-6)


@pytest.mark.parametrize("value", [1, 0, 65, 2.0, "two"])
def test_numbers_of_views_that_are_none(mini_config, value):
    with pytest.raises(UserError, match="source_views"):
        LRMConfig(**mini_config, source_views=value)


def test_from_training_to_a_mesh(golden_dir, repo, tmp_path, monkeypatch, capsys):
    """A released model of one goes on with three pictures; trained, evaluated and used by the command line."""
    monkeypatch.chdir(tmp_path)
    config = json.loads((golden_dir / "config.json").read_text())
    (tmp_path / "assets").symlink_to(repo / "assets")
    model = [f"model.{key}={json.dumps(value)}" for key, value in config.items() if value is not None]
    model = [word.replace('"', "") if "encoder=" not in word else word for word in model]
    small = [
        *("data.source_image_res=56", "data.render_image_low=8", "data.render_image_high=16", "train.train_steps=2"),
        *("data.render_region_size=8", "data.sample_side_views=3", "val.val_interval=2", "val.val_size=12"),
        *("val.val_views=5", "train.loss.perceptual_weight=0", "report.watch_interval=0", "device_target=CPU"),
        *("data.subsets=[{root_dirs: [assets/sample_object]}]", "train.batch_size=1", f"saver.load_model={golden_dir}"),
    ]
    assert launch.main(["train.lrm", *model, f"model.source_views={VIEWS}", "train.overfit=1", *small]) == 0
    (folder,) = (tmp_path / "outputs" / "lrm").iterdir()
    assert json.loads((folder / "config.json").read_text())["source_views"] == VIEWS
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert any(np.isfinite(record["psnr"]) for record in records if "psnr" in record)
    views = [f"views={repo / 'assets' / 'sample_object' / 'food_dinner'}", "export_planes=true", "device_target=CPU"]
    for count in (1, VIEWS):
        assert launch.main(["infer.lrm", f"model_name={folder}", *views, f"view={count}"]) == 0
    assert launch.main(["infer.lrm", f"model_name={folder}", *views, "view=4"]) == 2
    assert "takes 1 to 3 of an object" in capsys.readouterr().err
    evaluate = ["render_size=12", "lpips_backbone=none", "output_path=eval", "device_target=CPU"]
    assert launch.main(["eval.lrm", f"model_path={folder}", *evaluate]) == 0
    (figures,) = (tmp_path / "eval").rglob("metrics.json")
    assert np.isfinite(json.loads(figures.read_text())["mean"]["without_input_view"]["psnr"])
