import subprocess
import sys
from dataclasses import dataclass

import pytest

from openlrm.config import describe, format_help, load_config, option, parse_command_line
from openlrm.errors import UserError


@dataclass
class Optim:
    lr: float = option(4e-4, "learning rate", minimum=0)
    name: str = "adamw"


@dataclass
class Train:
    epochs: int = option(2, "passes over the data", minimum=1, alias=("num-epochs", "e"))
    optim: Optim = option(Optim, "the optimizer")


@dataclass
class Comparison:
    first: str = option(help="one", positional=True)
    second: str = option(help="the other", positional=True)
    times: int = 1


@dataclass
class Config:
    uid: str = option(help="which object")
    name: str = option("x", "a name " * 40)
    use_ema: bool = option(False, "average the weights")
    offset: float | None = option(None, "shift")
    levels: tuple[float, ...] = option((0.0, 1.0), "levels")
    train: Train = option(Train, "training")


@pytest.mark.parametrize(
    ("argv", "overrides"),
    [
        ("name=a=b train.optim.lr=1", ["name=a=b", "train.optim.lr=1"]),
        ("--name a --train.optim.name b", ["name=a", "train.optim.name=b"]),
        ("--lr=1e-3 --epochs 3", ["train.optim.lr=1e-3", "train.epochs=3"]),
        ("--num-epochs 3 --num_epochs=3 -e 3", ["train.epochs=3"] * 3),
        ("--use-ema", ["use_ema=true"]),
        ("--use_ema False --name a", ["use_ema=False", "name=a"]),
        ("--use-ema name=a", ["use_ema=true", "name=a"]),
        ("--use-ema=no", ["use_ema=no"]),
        ("--offset -1.5", ["offset=-1.5"]),
        ("--name=", ["name="]),
        ("--name a=b", ["name=a=b"]),
    ],
)
def test_spellings(argv, overrides):
    assert parse_command_line(Config, argv.split()) == ([], overrides, False)


def test_yaml_files_in_order():
    files, overrides, _ = parse_command_line(Config, ["--config", "a.yaml", "uid=1", "--infer=b.yaml"])
    assert (files, overrides) == (["a.yaml", "b.yaml"], ["uid=1"])


@pytest.mark.parametrize("argv", ["-h", "--help", "nonsense --help", "--wrong -h"])
def test_help_wins(argv):
    assert parse_command_line(Config, argv.split()) == ([], [], True)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--epoch 3", "unknown flag --epoch: command line. did you mean --epochs?"),
        ("--optim.lr=3", "unknown flag --optim.lr: command line. did you mean --lr?"),
        ("--conifg a", "did you mean --config?"),
        ("--zzz", "--help lists the options"),
        ("--name", "--name needs a value"),
        ("--name --use-ema", "--name needs a value"),
        ("--config", "--config needs a value"),
        ("word", "unexpected argument 'word': command line. write key=value"),
        ("a.yaml", "did you mean --config a.yaml?"),
    ],
)
def test_bad_arguments(argv, message):
    with pytest.raises(UserError) as caught:
        parse_command_line(Config, argv.split())
    assert message in str(caught.value)


def test_both_spellings_of_one_key_must_agree():
    _, overrides, _ = parse_command_line(Config, ["uid=a", "--epochs", "3", "train.epochs=4"])
    with pytest.raises(UserError, match=r"train\.epochs is given twice"):
        load_config(Config, (), overrides)


@pytest.mark.parametrize(
    "argv",
    ["a b", "a --times 1 b", "second=b a", "--second=b a", "first=a b", "a --second b", "--times 1 a b"],
)
def test_values_by_themselves(argv):
    _, overrides, _ = parse_command_line(Comparison, argv.split())
    assert load_config(Comparison, (), overrides) == Comparison("a", "b", 1)


def test_too_many_values_by_themselves():
    with pytest.raises(UserError, match="unexpected argument 'c'"):
        parse_command_line(Comparison, ["a", "b", "c"])
    assert format_help(Comparison, "toy").startswith("usage: toy FIRST SECOND [--config FILE]")


def test_describe():
    rows = {row[0]: row[1:] for row in describe(Config)}
    assert list(rows)[:3] == ["uid", "name", "use_ema"]
    assert rows["train.optim.lr"] == ("float >= 0", 4e-4, "learning rate")
    assert rows["offset"] == ("float or null", None, "shift")
    assert rows["levels"][0] == "list of float"
    assert list(rows["levels"][1]) == [0.0, 1.0]
    assert rows["uid"] == ("str", "???", "which object")


def test_help_page():
    page = format_help(Config, "python -m openlrm.launch toy", "Does it.", ["toy name=a"])
    assert page.startswith("usage: python -m openlrm.launch toy [--config FILE]")
    for line in (
        "  uid=<required>  (str)",
        "  levels=[0.0,1.0]  (list of float)",
        "train.optim: the optimizer",
        "  train.epochs=2  (int >= 1, also --num-epochs, also --e)",
        "  toy name=a",
        "  use_ema=false  (bool)",
    ):
        assert line in page.splitlines()
    assert max(map(len, page.splitlines())) <= 100
    assert page.endswith("\n")


def test_import_is_light():
    code = "import openlrm.config, sys; print([m for m in ('mindspore', 'numpy', 'PIL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
