import dataclasses
from dataclasses import dataclass
from typing import Optional, Union

import pytest

from openlrm.config import describe, format_help, load_config, option, save_config
from openlrm.errors import UserError


@dataclass
class Loss:
    perceptual_weight: float = option(1.0, "weight of LPIPS", minimum=0)
    kind: str = option("mse", "pixel loss", choices=("mse", "l1"))


@dataclass
class Train:
    epochs: int = option(2, "passes over the data", minimum=1, maximum=10)
    loss: Loss = option(Loss, "losses")
    backgrounds: list[float] = option([0.0, 0.5, 1.0], "grey levels", minimum=0, maximum=1)


@dataclass
class Config:
    image_input: str = option("in.png", "picture")
    model_ckpt: Optional[str] = option(None, "weights")  # noqa: UP045
    seed: int | None = option(None, "seed")
    export_video: bool = option(True, "make a video")
    size: tuple[int, int] = option((3, 4), "height and width")
    spec: dict | None = option(None, "sizes of an encoder")
    train: Train = option(Train, "training")


@pytest.fixture
def yaml(tmp_path):
    def write(text, name="a.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_defaults_are_a_new_instance_each_time():
    first, second = load_config(Config), load_config(Config)
    assert first == Config()
    assert isinstance(first.train.loss, Loss)
    first.train.backgrounds.append(0.1)
    assert second.train.backgrounds == [0.0, 0.5, 1.0] == Config().train.backgrounds


def test_later_wins(yaml):
    files = [
        yaml("seed: 1\ntrain:\n  epochs: 3\n  loss.kind: l1\nimage_input: a.png"),
        yaml("train.epochs: 4\nseed: 2\ntrain:\n", "b.yaml"),
    ]
    config = load_config(Config, files, ["seed=3", "train.loss.perceptual_weight=1e-2"])
    expected = Config(image_input="a.png", seed=3)
    expected.train.epochs = 4
    expected.train.loss = Loss(0.01, "l1")
    assert config == expected


@pytest.mark.parametrize(
    "text", ["a=b.png", "001", "1e3", "a: b.png", "[1", "#x", "off", "2024-01-01", " x ", "'q'", "é.png"]
)
def test_text_is_taken_as_it_stands(text):
    assert load_config(Config, (), [f"image_input={text}", f"model_ckpt={text}"]).image_input == text
    assert load_config(Config, (), [f"model_ckpt={text}"]).model_ckpt == text


def test_the_home_folder(yaml, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert load_config(Config, [yaml("image_input: ~/a.png")], ["model_ckpt=~/b"]) == Config(
        "/home/me/a.png", "/home/me/b"
    )
    assert load_config(Config, [], ["image_input=~a.png", "model_ckpt=a~/b"]) == Config("~a.png", "a~/b")


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("model_ckpt=null", None),
        ("model_ckpt=", None),
        ("seed=null", None),
        ("seed=7", 7),
        ("export_video=no", False),
        ("train.backgrounds=0,0.5", [0.0, 0.5]),
        ("train.backgrounds=[1]", [1.0]),
        ("train.backgrounds=1", [1.0]),
        ("size=5,6", (5, 6)),
        ("spec={a: 1}", {"a": 1}),
    ],
)
def test_values(override, value):
    config = load_config(Config, (), [override])
    for name in override.partition("=")[0].split("."):
        config = getattr(config, name)
    assert config == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trian.epochs=1", "unknown option trian.epochs: command line. did you mean train.epochs?"),
        ("epochs=1", "did you mean train.epochs?"),
        ("loss.perceptual=1", "did you mean train.loss.perceptual_weight?"),
        ("imageinput=1", "did you mean image_input?"),
        ("zzz=1", "unknown option zzz: command line. --help lists the options"),
        ("train.loss=1", "train.loss is a group of options"),
        ("train.epochs=many", "train.epochs=many is not int from 1 to 10: command line"),
        ("train.epochs=1.5", "train.epochs=1.5 is not int"),
        ("train.epochs=true", "train.epochs=True is not int"),
        ("train.epochs=null", "train.epochs=null is not int"),
        ("train.epochs=[1", "train.epochs=[1 is not int"),
        ("train.epochs=11", "train.epochs=11 is not int from 1 to 10"),
        ("train.epochs=0", "train.epochs=0 is not int from 1 to 10"),
        ("train.loss.perceptual_weight=-1", "train.loss.perceptual_weight=-1.0 is not float >= 0"),
        ("train.loss.perceptual_weight=nan", "is not float >= 0"),
        ("train.loss.kind=mes", "train.loss.kind=mes is not mse | l1: command line. did you mean mse?"),
        ("train.backgrounds=0,2", "is not list of float from 0 to 1"),
        ("train.backgrounds=a", "is not list of float"),
        ("export_video=maybe", "export_video=maybe is not bool"),
        ("seed=x", "seed=x is not int or null"),
        ("seed", "'seed' has no value"),
        ("image_input=${nowhere}", "cannot work out the config"),
    ],
)
def test_bad_overrides(override, message):
    with pytest.raises(UserError) as caught:
        load_config(Config, (), [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_same_key_twice():
    assert load_config(Config, (), ["seed=1", "seed=01"]).seed == 1
    with pytest.raises(UserError, match="seed is given twice, as 1 and 2"):
        load_config(Config, (), ["seed=1", "seed=2"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:\n  epoch: 3", "did you mean train.epochs?"),
        ("train:\n  epochs: lots", "train.epochs=lots is not int"),
        ("train:\n  epochs: 40", "train.epochs=40 is not int from 1 to 10"),
        ("train: 3", "group of options"),
        ("model_ckpt: 001", "put the value in quotes"),
        ("image_input: null", "image_input=null is not str"),
        ("- a", "not a list"),
        ("a: [", "cannot read the config file"),
        ("seed: 1\nseed: 2", "duplicate key"),
        ("image_input: !!python/object/apply:os.getcwd []", "cannot read the config file"),
        ("\x00", "cannot read the config file"),
    ],
)
def test_bad_files_are_named(yaml, text, message):
    with pytest.raises(UserError, match=r"a\.yaml") as caught:
        load_config(Config, [yaml(text)])
    assert message in str(caught.value)


def test_files_that_are_no_files(tmp_path):
    with pytest.raises(UserError, match="no such config file"):
        load_config(Config, [tmp_path / "none.yaml"])
    with pytest.raises(UserError, match="cannot read"):
        load_config(Config, [tmp_path])
    (tmp_path / "empty.yaml").touch()
    assert load_config(Config, [tmp_path / "empty.yaml"]) == Config()


def test_required_and_owner_rules():
    @dataclass
    class Plain:
        uid: str
        steps: int = 4

        def __post_init__(self):
            if self.steps % 2:
                raise UserError("steps is odd")

    assert load_config(Plain, (), ["uid=a", "steps=2"]) == Plain("a", 2)
    with pytest.raises(UserError, match=r"no value for uid. give uid=\.\.\."):
        load_config(Plain)
    with pytest.raises(UserError, match="steps is odd"):
        load_config(Plain, (), ["uid=a", "steps=3"])


def test_group_with_required_options():
    @dataclass
    class Model:
        dim: int
        heads: int = 2

    @dataclass
    class Run:
        model: Model = option(help="the model")

    assert load_config(Run, (), ["model.dim=8"]) == Run(Model(8, 2))
    with pytest.raises(UserError, match=r"no value for model\.dim"):
        load_config(Run, (), ["model.heads=1"])
    assert describe(Run)[0] == ("model.dim", "int", "???", "")


def test_saved_config_reads_back_equal(tmp_path):
    config = load_config(Config, (), ["image_input=1e3", "model_ckpt=off", "train.backgrounds=[1e-5]"])
    save_config(config, tmp_path / "run" / "config.yaml")
    assert load_config(Config, [tmp_path / "run" / "config.yaml"]) == config
    changed = dataclasses.replace(config, seed=5, spec={"patch": 14, "sizes": [1, 2]}, size=(1, 2))
    save_config(changed, tmp_path / "run" / "config.yaml")
    assert load_config(Config, [tmp_path / "run" / "config.yaml"]) == changed
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["config.yaml"]


@dataclass
class Subset:
    roots: list[str] = option(help="folders")
    name: str = option("objects", "kind", choices=["objects", "scans"])
    rate: float = option(1.0, "share", minimum=0)


@dataclass
class Mix:
    subsets: list[Subset] = option(help="what is mixed")
    distance: Union[str, float] = option("auto", "auto or a number")  # noqa: UP007


def test_lists_of_groups(yaml, tmp_path):
    expected = Mix([Subset(["a", "b"], rate=2.0), Subset(["c"], "scans")], 2.0)
    text = "subsets:\n- {roots: [a, b], rate: 2}\n- roots: [c]\n  name: scans\ndistance: 2"
    assert load_config(Mix, [yaml(text)]) == expected
    given = ["subsets=[{roots: [a, b], rate: 2}, {roots: [c], name: scans}]", "distance=2.0"]
    assert load_config(Mix, [], given) == expected
    assert load_config(Mix, [yaml(text)], ["subsets={roots: [z]}"]).subsets == [Subset(["z"])]
    save_config(expected, tmp_path / "saved.yaml")
    assert load_config(Mix, [tmp_path / "saved.yaml"]) == expected
    assert ".rate  (float >= 0): share" in format_help(Mix, "mix")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subsets: [{root: [a]}]", "unknown option root: subsets[0], "),
        ("subsets: [{roots: [a]}, {roots: [b], rat: 1}]", "unknown option rat: subsets[1], "),
        ("subsets: [{roots: [a], rate: much}]", "rate=much is not float >= 0: subsets[0], "),
        ("subsets: [{roots: [a], rate: -1}]", "rate=-1.0 is not float >= 0: subsets[0], "),
        ("subsets: [{roots: [a], name: object}]", "did you mean objects?"),
        ("subsets: [{roots: a}]", "roots=a is not list of str: subsets[0], "),
        ("subsets: [{rate: 1}]", "no value for roots: subsets[0], "),
        ("subsets: [a]", "'a' is not Subset: subsets[0], "),
        ("subsets: {roots: [a]}", "is not list of Subset"),
        ("subsets: 3", "subsets=3 is not list of Subset"),
        ("distance: 2", "no value for subsets"),
        ("subsets: [{roots: [a]}]\ndistance: true", "distance=True is not str | float"),
    ],
)
def test_bad_lists_of_groups(yaml, text, message):
    with pytest.raises(UserError) as caught:
        load_config(Mix, [yaml(text)])
    assert message in str(caught.value)


@dataclass
class Numbers:
    rate: float = option(0.1, "rate", minimum=0)
    free: float = option(0.1, "any number")
    rates: list[float] = option([0.1], "some")
    either: Union[str, float] = option("auto", "auto or a number")  # noqa: UP007
    steps: int = option(1, "whole", minimum=0)
    pair: list[float] = option([0.9, 0.95], "two", minimum=0, maximum=1, length=2)


ENDLESS = ["inf", ".inf", "-.inf", ".nan", "1e400", "-1e999"]


@pytest.mark.parametrize(
    ("key", "value"), [*((key, value) for key in ("rate", "free", "rates") for value in ENDLESS), ("either", ".inf")]
)
def test_numbers_are_finite(key, value, yaml):
    with pytest.raises(UserError, match=f"{key}="):
        load_config(Numbers, overrides=[f"{key}={value}"])
    with pytest.raises(UserError, match=key):
        load_config(Numbers, [yaml(f"{key}: {f'[{value}]' if key == 'rates' else value}")])


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**20, 10**400])
def test_whole_numbers_fit_64_bits(value):
    with pytest.raises(UserError, match="steps="):
        load_config(Numbers, overrides=[f"steps={value}"])
    assert load_config(Numbers, overrides=[f"steps={2**63 - 1}"]).steps == 2**63 - 1


@pytest.mark.parametrize("value", ["", "0.9", "0.9,0.95,0.99"])
def test_a_list_of_fixed_length_has_it(value):
    with pytest.raises(UserError, match=rf"pair has {len(value.split(',')) if value else 0} values, not 2"):
        load_config(Numbers, overrides=[f"pair=[{value}]"])
    assert ("pair", "list of 2 float from 0 to 1") in [row[:2] for row in describe(Numbers)]
    assert load_config(Numbers, overrides=["pair=0.5,0.6"]).pair == [0.5, 0.6]
