"""Configs from strangers: read, or refused in one line; no code runs, nothing endless is built."""

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openlrm.checkpoint import locate_model
from openlrm.config import load_config
from openlrm.errors import UserError
from openlrm.families.lrm import LRMConfig
from openlrm.families.reconstructor import build_model


@dataclass
class Group:
    text: str | None = None
    count: int = 1


@dataclass
class Options:
    size: int = 1
    name: str = "x"
    rate: float = 0.1
    on: bool = False
    items: list[float] = field(default_factory=list)
    group: Group = field(default_factory=Group)
    groups: list[Group] = field(default_factory=list)


def load(folder, text: str | bytes) -> Options | str:
    """The config, or the one line of its refusal."""
    path = folder / "hostile.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
    try:
        return load_config(Options, [path])
    except UserError as error:
        assert "\n" not in str(error)
        return str(error)


# Nine levels of ten aliases would be 10^9 numbers.
LAUGHS = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
REFUSED = {
    "a call": "name: !!python/object/apply:os.system ['touch owned']",
    "a new object": "name: !!python/object/new:os.system ['touch owned']",
    "a module": "name: !!python/module:os",
    "a billion laughs": LAUGHS,
    "a list in itself": "items: &x [*x]",
    "900 lists in each other": "items: " + "[" * 900 + "]" * 900,
    "lists without end": "items: " + "[" * 3000,
    "no int": 'size: !!int "x"',
    "no float": 'rate: !!float "x"',
    "no bool": 'on: !!bool "x"',
    "no time": 'name: !!timestamp "x"',
    "no base64": 'name: !!binary "x"',
    "5000 digits": "size: " + "9" * 5000,
    "itself": "name: ${name}",
    "each other": "name: ${group.text}\ngroup: {text: '${name}'}",
    "no such variable": "name: ${oc.env:NO_SUCH_VARIABLE}",
    "braces without end": "name: " + "${a" * 2000,
    "a zero byte": "name: \0",
    "half a character": b"name: \xed\xa0\x80",
    "a list as key": "? [a]\n: b",
}


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_yaml_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert isinstance(load(tmp_path, REFUSED[name]), str)
    assert not (tmp_path / "owned").exists()


OVERRIDES = [
    "size=!!int x", "items=!!int x", "on=!!bool x", "rate=!!timestamp x", "size=" + "9" * 5000, "items=" + "[" * 900,
    "name=${name}", "rate=${rate}", "size=!!python/name:os.system", "items=&x [*x]", "groups=[{count: ${x}}]",
    "size=\ud800", "items=\0", "size=${oc.decode:x}", "size={",
]  # fmt: skip


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda text: ascii(text[:20]))
def test_hostile_overrides_are_refused(override):
    with pytest.raises(UserError):
        load_config(Options, [], [override])


TOKENS = """size name rate on items group groups text count : - { } [ ] , &a *a ! ? > ' " ${ } ??? ~ 1 -0x 1e999 .nan
null yes oc.env: oc.create: !!int !!set !!omap !!binary !!null <<:"""
tokens = st.sampled_from([*TOKENS.split(), ": ", "- ", " ", "\n", "\n  ", "|\n", "%YAML 1.1\n"])


@settings(max_examples=60, deadline=None)
@given(st.lists(tokens | st.text(max_size=3), max_size=25).map("".join))
def test_any_yaml_is_read_or_refused(tmp_path_factory, text):
    result = load(tmp_path_factory.getbasetemp(), text)
    assert isinstance(result, (Options, str))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["size", "name", "rate", "on", "items", "groups", "group.count"]), st.text(max_size=12))
def test_any_override_is_read_or_refused(key, text):
    try:
        load_config(Options, [], [f"{key}={text}"])
    except UserError as error:
        assert "\n" not in str(error)


SIZES = [name for name, kind in LRMConfig.__annotations__.items() if kind is int]


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [10**9, 10**300, -1, 0, 2.0, "8", True, None, [], {}])
def test_no_size_of_a_model_is_endless(mini_config, name, value):
    with pytest.raises(UserError, match=name):
        LRMConfig.from_dict(mini_config | {name: value}).check_size()


def test_sizes_whose_product_is_endless_are_refused_before_anything_is_allocated(golden_dir, mini_config, tmp_path):
    """Each size for itself is allowed; the weights would take 500 GB, or a thousand times what the file holds."""
    from openlrm import ModelLRM

    endless = {"transformer_dim": 1 << 16, "transformer_layers": 20}
    with pytest.raises(UserError, match=r"describes 1\.\d+e\+12 weights"):
        ModelLRM(**mini_config | endless)
    (tmp_path / "model.safetensors").symlink_to(golden_dir / "model.safetensors")
    for sizes in (endless, {"transformer_dim": 2048}):
        (tmp_path / "config.json").write_text(json.dumps(mini_config | sizes))
        with pytest.raises(UserError, match=r"describes .*e\+\d+ weights, the checkpoint holds 2\.\d+e\+05"):
            build_model(locate_model(str(tmp_path)))


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"transformer_dim": 128, "transformer_layers": 3, "camera_embed_dim": 96, "triplane_low_res": 4,
         "triplane_high_res": 8},
        {"encoder": {"embed_dim": 64, "depth": 3, "num_heads": 2}, "encoder_feat_dim": 64},
    ],
)  # fmt: skip
def test_weights_are_a_little_less_than_the_parameters(mini_config, sizes, pynative):
    from openlrm import ModelLRM

    config = mini_config | sizes
    parameters = sum(parameter.size for parameter in ModelLRM(**config).get_parameters())
    assert 0.8 * parameters < LRMConfig(**config).weights < parameters


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_model_config_is_taken_or_refused(mini_config, data):
    keys = data.draw(st.lists(st.sampled_from([*mini_config, "encoder.", "x"]), max_size=3))
    config = json.loads(json.dumps(mini_config))
    for key in keys:
        if key == "encoder.":
            if isinstance(config["encoder"], dict):
                config["encoder"][data.draw(st.sampled_from(["depth", "patch_size", "eps", "ffn_layer", "y"]))] = (
                    data.draw(json_values)
                )
        else:
            config[key] = data.draw(json_values)
    try:
        LRMConfig.from_dict(config).check_size()
    except UserError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "NaN", '"\\ud800"', "\xff"])
def test_hostile_json_is_refused(golden_dir, tmp_path, text):
    (tmp_path / "model.safetensors").symlink_to(golden_dir / "model.safetensors")
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError):
        locate_model(str(tmp_path))
