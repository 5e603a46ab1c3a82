"""LPIPS against the published implementation's numbers, and what its backbone may be."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from safetensors.numpy import save_file

from openlrm.errors import UserError
from openlrm.losses import LPIPS, backbone
from openlrm.losses.backbone import VGG16_LAYERS, read_backbone
from openlrm.metrics import PerceptualMetric


@pytest.fixture(scope="module")
def convolutions() -> dict[str, np.ndarray]:
    """VGG16's convolutions drawn as for the golden numbers, under timm's and torchvision's names."""
    rs = np.random.RandomState(0)
    tensors = {}
    for layer, (outputs, inputs) in VGG16_LAYERS.items():
        weight = rs.randn(outputs, inputs, 3, 3) * np.sqrt(2 / (9 * inputs))
        tensors[f"features.{layer}.weight"] = weight.astype(np.float32)
        tensors[f"features.{layer}.bias"] = np.zeros(outputs, np.float32)
    return tensors


@pytest.fixture(scope="module")
def weights_file(convolutions, tmp_path_factory):
    """With a piece of a classifier, as both have."""
    path = tmp_path_factory.mktemp("vgg") / "model.safetensors"
    save_file(convolutions | {"head.fc.bias": np.zeros(1000, np.float32)}, path)
    return path


@pytest.fixture(scope="module")
def lpips_golden(repo) -> dict[str, np.ndarray]:
    with np.load(repo / "tests" / "golden" / "lpips.npz") as arrays:
        return dict(arrays)


class MeanDistance(nn.Cell):
    def __init__(self, lpips):
        super().__init__()
        self.lpips = lpips

    def construct(self, x, y):
        return self.lpips(x, y).mean()


def test_golden_value_and_gradient(mode, weights_file, lpips_golden):
    lpips = LPIPS(weights_file)
    x, y = Tensor(lpips_golden["x"]), Tensor(lpips_golden["y"])
    np.testing.assert_allclose(lpips(x, y).asnumpy(), lpips_golden["lpips"], rtol=1e-6)
    gradient = ms.grad(MeanDistance(lpips), (0, 1))
    to_x, to_y = (ms.jit(gradient) if mode == 0 else gradient)(x, y)
    assert not to_y.asnumpy().any()
    expected = lpips_golden["grad_mean_wrt_x"]
    error = np.abs(to_x.asnumpy() - expected).max((1, 2, 3)) / np.abs(expected).max()
    # In the first picture two neighbours of the fourth pooling differ by 5e-6 of 0.97, so that another rounding of
    # the products may hand the gradient to the other one: 8e-3.
    assert error[1] < 3e-5 and error[0] < 1e-2


def test_metric_of_arrays(mode, weights_file, lpips_golden):
    metric = PerceptualMetric(weights_file)
    assert metric(lpips_golden["x"], lpips_golden["y"]) == pytest.approx(lpips_golden["lpips"].mean(), rel=1e-6)
    assert metric(lpips_golden["x"][0], lpips_golden["y"][0]) == pytest.approx(lpips_golden["lpips"][0], rel=1e-6)


def test_equal_pictures_and_odd_sizes(pynative, weights_file):
    rng = np.random.default_rng(0)
    x, y = (Tensor(rng.random((1, 3, 17, 21)).astype(np.float32)) for _ in range(2))
    lpips = LPIPS(weights_file)
    assert lpips(x, x).asnumpy() == 0
    assert lpips(x, y).asnumpy() == pytest.approx(lpips(y, x).asnumpy(), rel=1e-5)
    # Nothing to compare in a flat region must not spoil the gradient.
    flat = Tensor(np.zeros((1, 3, 16, 16), np.float32))
    assert np.isfinite(ms.grad(MeanDistance(lpips))(flat, flat).asnumpy()).all()


def test_small_pictures_are_refused(mode, weights_file):
    x = Tensor(np.zeros((1, 3, 15, 16), np.float32))
    with pytest.raises(ValueError, match="at least 16 x 16"):
        LPIPS(weights_file)(x, x)


def test_nothing_is_trained(pynative, weights_file):
    lpips = LPIPS(weights_file)
    assert len(list(lpips.get_parameters())) == 26
    assert lpips.trainable_params() == []


def test_folder_and_half_precision(weights_file, convolutions, tmp_path):
    assert list(read_backbone(weights_file.parent)) == list(VGG16_LAYERS)
    save_file({name: value.astype(np.float16) for name, value in convolutions.items()}, tmp_path / "half.safetensors")
    weight, bias = read_backbone(tmp_path / "half.safetensors")[28]
    assert weight.dtype == bias.dtype == np.float32
    np.testing.assert_allclose(weight, convolutions["features.28.weight"], rtol=1e-3, atol=1e-6)


def spoil(tensors: dict[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    tensors = dict(tensors)
    if kind == "missing":
        del tensors["features.28.bias"]
    if kind == "shape":
        tensors["features.2.weight"] = tensors["features.0.weight"]
    if kind == "nan":
        tensors["features.0.bias"] = np.full(64, np.nan, np.float32)
    return tensors


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("missing", r"no features\.28\.bias among the weights: not a VGG16"),
        ("shape", r"features\.2\.weight is \(64, 3, 3, 3\), expected \(64, 64, 3, 3\)"),
        ("nan", r"features\.0\.bias holds NaN"),
    ],
)
def test_another_network_is_refused(kind, what, convolutions, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file(spoil(convolutions, kind), path)
    with pytest.raises(UserError, match=what) as caught:
        read_backbone(path)
    assert "perceptual_weight=0" in str(caught.value) and str(path) in str(caught.value)


def test_damaged_or_missing_files(weights_file, tmp_path):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights_file.read_bytes()[:5000])
    (tmp_path / "vgg16.pth").touch()
    for source, what in (
        (cut, "unreadable"),
        (tmp_path / "vgg16.pth", "not a .safetensors"),
        (tmp_path / "none.safetensors", "no VGG16 weights"),
        (tmp_path, "no VGG16 weights"),
    ):
        with pytest.raises(UserError, match=what) as caught:
            read_backbone(source)
        assert "hf download timm/vgg16.tv_in1k model.safetensors" in caught.value.hint


def test_the_hub(weights_file, monkeypatch):
    """The default comes from the hub; one that is not reachable is told as such."""
    asked = []

    def fetch(repo_id, filename):
        asked.append((repo_id, filename))
        if len(asked) > 1:
            raise OSError("no route to the hub")
        return str(weights_file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    assert len(read_backbone()) == 13
    with pytest.raises(UserError, match=r"cannot be had from the hub \(no route to the hub\): timm/vgg16") as caught:
        read_backbone(backbone.DEFAULT_BACKBONE)
    assert asked == [("timm/vgg16.tv_in1k", "model.safetensors")] * 2
    assert "train.loss.perceptual_weight=0" in caught.value.hint


def test_channel_weights_are_the_published_ones(repo):
    from openlrm.losses.lpips import LIN_WEIGHTS

    assert LIN_WEIGHTS.read_bytes() == (repo / "tests" / "golden" / "lpips_vgg_lin.npz").read_bytes()
    assert (LIN_WEIGHTS.parent / "LICENSE.txt").is_file()
