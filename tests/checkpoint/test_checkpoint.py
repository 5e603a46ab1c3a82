"""Checkpoints: names of several programs, strictness, damage, finding."""

import json
import shutil

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from safetensors.numpy import load_file, save_file

from openlrm import ModelLRM
from openlrm.checkpoint import apply_tensors, locate_model, read_tensors, write_ckpt
from openlrm.checkpoint.names import encoder_from_published
from openlrm.checkpoint.strict import parameter_arrays
from openlrm.errors import UserError
from openlrm.families.lrm.pretrained import load_encoder
from openlrm.families.lrm.weights import from_checkpoint, to_release


@pytest.fixture
def weights(golden_dir):
    return load_file(golden_dir / "model.safetensors")


@pytest.fixture
def release(golden_dir, tmp_path):
    folder = tmp_path / "release"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(golden_dir / name, folder / name)
    return folder


def same(model, weights):
    arrays = parameter_arrays(model)
    assert set(arrays) == set(weights)
    return all(np.array_equal(arrays[k], weights[k]) for k in weights)


def test_release_round_trip_is_exact(pynative, mini, weights, tmp_path, mini_config):
    mini.save_pretrained(tmp_path / "out")
    saved = load_file(tmp_path / "out" / "model.safetensors")
    assert set(saved) == set(weights)
    assert all(np.array_equal(saved[k], weights[k]) for k in weights)
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == mini_config
    assert same(ModelLRM.from_pretrained(str(tmp_path / "out")), weights)


def test_packed_cross_attention_when_widths_agree(pynative, mini_config, tmp_path):
    config = mini_config | {"transformer_dim": 32}
    model = ModelLRM(**config)
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert saved["transformer.layers.0.cross_attn.in_proj_weight"].shape == (96, 32)
    assert same(ModelLRM.from_pretrained(str(tmp_path)), saved)


def test_mindone_checkpoint(pynative, weights, golden_dir, tmp_path):
    """Prefix, norm names, optimiser state and counters of the mindone example."""
    norms = ("norm.weight", "norm.bias", "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias")
    tensors = {}
    for name, value in weights.items():
        other = name
        if name.endswith(norms):
            other = name.replace(".weight", ".gamma").replace(".bias", ".beta")
        tensors[f"lrm_generator.{other}"] = value
        tensors[f"adam_m.lrm_generator.{name}"] = np.zeros_like(value)
        tensors[f"adam_v.lrm_generator.{name}"] = np.zeros_like(value)
    tensors["global_step"] = np.array([7], np.int32)
    tensors["loss_scale"] = np.array([1024.0], np.float32)
    path = tmp_path / "openlrm-e3.ckpt"
    write_ckpt(path, tensors)
    shutil.copy(golden_dir / "config.json", tmp_path / "config.json")
    assert any(".gamma" in k and "norm" in k for k in read_tensors(path))
    assert same(ModelLRM.from_pretrained(str(path)), weights)


def test_hugging_face_encoder_layouts(pynative, mini, weights):
    """Split q, k, v and the hub's names give back the very same encoder."""
    prefix = "encoder.model."
    theirs = {}
    for name, value in weights.items():
        if not name.startswith(prefix):
            continue
        name = name.removeprefix(prefix)
        block = name.split(".")[1] if name.startswith("blocks.") else ""
        layer = f"encoder.layer.{block}."
        kind = name.rsplit(".", 1)[-1]
        if ".attn.qkv." in name:
            for part, chunk in zip(("query", "key", "value"), np.split(value, 3), strict=True):
                theirs[f"{layer}attention.attention.{part}.{kind}"] = chunk
        elif ".attn.proj." in name:
            theirs[f"{layer}attention.output.dense.{kind}"] = value
        elif ".ls" in name:
            theirs[f"{layer}layer_scale{name[name.index('.ls') + 3]}.lambda1"] = value
        elif block:
            theirs[layer + name.split(".", 2)[2]] = value
        else:
            table = {
                "cls_token": "embeddings.cls_token",
                "pos_embed": "embeddings.position_embeddings",
                "register_tokens": "embeddings.register_tokens",
                "norm.weight": "layernorm.weight",
                "norm.bias": "layernorm.bias",
                "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
                "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
            }
            theirs[table[name]] = value
    theirs["embeddings.mask_token"] = np.zeros((1, 32), np.float32)
    ours = encoder_from_published(theirs)
    expected = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    assert set(ours) == set(expected)
    assert all(np.array_equal(ours[k], expected[k]) for k in expected)


def test_load_encoder_from_meta_layout(pynative, mini_config, weights, tmp_path):
    meta = {k.removeprefix("encoder.model."): v for k, v in weights.items() if k.startswith("encoder.model.")}
    save_file(meta | {"mask_token": np.zeros((1, 32), np.float32)}, tmp_path / "model.safetensors")
    model = ModelLRM(**mini_config)
    load_encoder(model, tmp_path)
    arrays = parameter_arrays(model)
    assert all(np.array_equal(arrays[f"encoder.model.{k}"], v) for k, v in meta.items())


def test_an_encoder_with_fewer_blocks_takes_the_first_ones(pynative, mini_config, weights, tmp_path, caplog):
    whole = {k.removeprefix("encoder.model."): v for k, v in weights.items() if k.startswith("encoder.model.")}
    depth = mini_config["encoder"]["depth"]
    save_file(whole, tmp_path / "model.safetensors")
    model = ModelLRM(**mini_config | {"encoder": mini_config["encoder"] | {"depth": depth - 1}})
    with caplog.at_level("INFO"):
        load_encoder(model, tmp_path)
    assert f"first {depth - 1} of the {depth} blocks" in caplog.text
    arrays = parameter_arrays(model)
    kept = {k for k in whole if not k.startswith(f"blocks.{depth - 1}.")}
    assert len(kept) < len(whole)
    assert all(np.array_equal(arrays[f"encoder.model.{k}"], whole[k]) for k in kept)


def test_dino_models_use_vit_names(pynative):
    config = dict(
        camera_embed_dim=16,
        rendering_samples_per_ray=8,
        transformer_dim=32,
        transformer_layers=1,
        transformer_heads=2,
        triplane_low_res=4,
        triplane_high_res=8,
        triplane_dim=4,
        encoder_type="dino",
        encoder_model_name="tiny",
        encoder_feat_dim=24,
        encoder=dict(
            img_size=32,
            patch_size=16,
            embed_dim=24,
            depth=2,
            num_heads=2,
            num_register_tokens=0,
            layer_scale=False,
            antialias=False,
            normalise=True,
        ),
    )
    model = ModelLRM(**config)
    arrays = parameter_arrays(model)
    released = to_release(arrays, "dino")
    assert "encoder.model.encoder.layer.1.attention.attention.query.weight" in released
    assert "encoder.model.encoder.layer.0.layernorm_before.weight" in released
    assert not any(".qkv." in k or "blocks." in k for k in released)
    back = from_checkpoint(released, set(arrays))
    assert set(back) == set(arrays)
    assert all(np.array_equal(back[k], arrays[k]) for k in arrays)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda w: w.pop("pos_embed"), ["1 missing", "pos_embed"]),
        (lambda w: w.update(surplus=np.zeros(2, np.float32)), ["1 left over", "surplus"]),
        (
            lambda w: w.update(pos_embed=np.zeros((1, 3), np.float32)),
            ["another shape", "(1, 3)", "(1, 192, 64)"],
        ),
        (lambda w: w.update({"upsampler.bias": np.full(8, np.nan, np.float32)}), ["upsampler.bias", "NaN"]),
    ],
    ids=["missing", "left over", "shape", "nan"],
)
def test_strict_load_names_what_does_not_fit(pynative, release, weights, change, words):
    change(weights)
    save_file(weights, release / "model.safetensors")
    with pytest.raises(UserError) as error:
        ModelLRM.from_pretrained(str(release))
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_not_strict_keeps_the_rest(pynative, mini, weights):
    before = parameter_arrays(mini)["pos_embed"].copy()
    partial = {k: v + 1 for k, v in weights.items() if k != "pos_embed"}
    apply_tensors(mini, partial, "test", strict=False)
    arrays = parameter_arrays(mini)
    assert np.array_equal(arrays["pos_embed"], before)
    assert np.array_equal(arrays["upsampler.bias"], weights["upsampler.bias"] + 1)


def test_half_precision_files_are_read_as_float32(pynative, release, weights):
    save_file({k: v.astype(np.float16) for k, v in weights.items()}, release / "model.safetensors")
    arrays = parameter_arrays(ModelLRM.from_pretrained(str(release)))
    assert arrays["pos_embed"].dtype == np.float32
    assert np.allclose(arrays["pos_embed"], weights["pos_embed"], atol=1e-3)


def test_bfloat16_safetensors(tmp_path):
    values = np.array([1.0, -2.5, 3e38], np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    header = json.dumps({"x": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bits.tobytes())
    assert np.allclose(read_tensors(tmp_path / "a.safetensors")["x"], values, rtol=1e-2)


@pytest.mark.parametrize("name", ["model.safetensors", "x.ckpt"])
@pytest.mark.parametrize("keep", [0, 7, 1000])
def test_truncated_files(pynative, release, weights, name, keep):
    path = release / name
    if name.endswith(".ckpt"):
        write_ckpt(path, weights)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="damaged"):
        read_tensors(path)


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".txt"])
def test_refused_kinds(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"x")
    with pytest.raises(UserError, match="not read|not a checkpoint"):
        read_tensors(path)


def test_locate(pynative, release, weights, tmp_path):
    assert locate_model(str(release)).name == "release"
    run = tmp_path / "run"
    (run / "ckpt").mkdir(parents=True)
    shutil.copy(release / "config.json", run / "config.json")
    for epoch in (2, 10):
        write_ckpt(run / "ckpt" / f"openlrm-e{epoch}.ckpt", weights)
    assert locate_model(str(run)).weights.name == "openlrm-e10.ckpt"
    assert locate_model(str(run), epoch=2).weights.name == "openlrm-e2.ckpt"
    assert locate_model(str(run), "openlrm-e2.ckpt", 2).weights.name == "openlrm-e2.ckpt"
    single = run / "ckpt" / "openlrm-e2.ckpt"
    assert locate_model(str(single)).config["transformer_dim"] == 64
    assert same(ModelLRM.from_pretrained(str(run)), weights)
    for name, ckpt, epoch, words in (
        (str(run), None, 3, "no checkpoint of epoch 3"),
        (str(run), "openlrm-e2.ckpt", 10, "is of epoch 2"),
        (str(run), "none.ckpt", None, "not found"),
        (str(single), "openlrm-e2.ckpt", None, "is a file already"),
        (str(tmp_path / "absent"), None, None, "model not found"),
        (str(tmp_path), None, None, "is it a model folder"),
    ):
        with pytest.raises(UserError, match=words):
            locate_model(name, ckpt, epoch)


def test_names_of_results(release, tmp_path):
    """Every run, epoch and file has a folder of its own, however it is named."""
    runs = [tmp_path / "a" / "same", tmp_path / "b" / "same"]
    for run in runs:
        (run / "ckpt").mkdir(parents=True)
        for name in ("config.json", "cfg.yaml", "ckpt/openlrm-e2.ckpt", "ckpt/openlrm-e10.ckpt", "ckpt/best.ckpt"):
            (run / name).write_text("{}" if name == "config.json" else "")
        (run / "ckpt" / "._openlrm-e99.ckpt").touch()
    for run in runs:
        expected = f"{run.parent.name}/same"
        assert locate_model(str(run)).results.as_posix() == f"{expected}/e10"
        assert locate_model(str(run), epoch=2).results.as_posix() == f"{expected}/e2"
        assert locate_model(str(run), "best.ckpt").results.as_posix() == f"{expected}/best"
        located = locate_model(str(run / "ckpt" / "openlrm-e2.ckpt"))
        assert (located.name, located.version, located.results.as_posix()) == ("same", "e2", f"{expected}/e2")
    assert locate_model(str(runs[0]), str(runs[1] / "ckpt" / "best.ckpt")).results.as_posix() == "b/same/best"
    for name in (release, release / "model.safetensors"):
        located = locate_model(str(name))
        assert (located.name, located.version, located.results.as_posix()) == ("release", "release", "release")


def test_config_with_a_byte_order_mark(release):
    text = (release / "config.json").read_text(encoding="utf-8")
    for encoding in ("utf-8-sig", "utf-16"):
        (release / "config.json").write_text(text, encoding=encoding)
        assert locate_model(str(release)).config["transformer_dim"] == 64


def test_hub_without_network(monkeypatch, tmp_path):
    import huggingface_hub

    def refuse(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(UserError, match="hf download zxhezexin/openlrm-obj-small-1.1"):
        locate_model("zxhezexin/openlrm-obj-small-1.1")


def test_hub_from_local_folder(monkeypatch, release):
    """What the hub client returns is a folder: the same path as a local release."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repo, allow_patterns: str(release))
    located = locate_model("someone/some-model")
    assert located.name == "some-model" and located.weights == release / "model.safetensors"


@pytest.mark.parametrize(
    "text, words", [("{", "unreadable"), ("[]", "not a JSON object"), ('{"a": 1}', "unknown keys")]
)
def test_bad_config(pynative, release, text, words):
    (release / "config.json").write_text(text)
    with pytest.raises(UserError, match=words):
        ModelLRM.from_pretrained(str(release))


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("transformer_heads", 5, "does not divide"),
        ("triplane_high_res", 17, "not twice"),
        ("rendering_samples_per_ray", 7, "even number"),
        ("encoder_type", "clip", "unknown encoder_type"),
        ("encoder_feat_dim", 33, "is 32 wide"),
        ("transformer_dim", "64", "whole number"),
    ],
)
def test_config_rules(mini_config, key, value, words):
    with pytest.raises(UserError, match=words):
        ModelLRM(**(mini_config | {key: value}))


def test_missing_config_key(mini_config):
    mini_config = dict(mini_config)
    del mini_config["triplane_dim"]
    with pytest.raises(UserError, match="lacks: triplane_dim"):
        ModelLRM(**mini_config)


def test_parameter_values_are_ours_to_write(pynative, mini):
    """Loaded buffers must be writable: an optimiser updates them in place."""
    parameter = mini.upsampler.bias
    ms.ops.assign_add(parameter, Tensor(np.ones(parameter.shape, np.float32)))
    assert parameter.asnumpy().flags.writeable
