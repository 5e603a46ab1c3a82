"""Lists of names: what is written is what is meant, on the command line and in YAML."""

from dataclasses import dataclass

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openlrm.config import load_config, option, parse_command_line, save_config
from openlrm.config.help import as_typed
from openlrm.config.texts import join_list, split_list
from openlrm.errors import UserError

NAMES = ["001", "1e3", "yes", "off", "null", "~", "0x10", "1_000", "12:30:45", "2024-01-01", ".5", "-1", ".inf", "a: b"]


@dataclass
class Subset:
    roots: list[str] = option(help="folders")
    rate: float = option(1.0, "share")


@dataclass
class Config:
    uids: list[str] = option([], "names")
    pair: tuple[str, ...] = option((), "more names")
    backgrounds: list[float] = option([], "grey levels")
    subsets: list[Subset] = option([], "groups")


names = st.lists(st.sampled_from(NAMES) | st.text(max_size=8), max_size=6)
# OmegaConf's word for a value that is missing.
names = names.filter(lambda items: "???" not in items)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["uids={}", "uids=[{}]", "uids= {} ", 'uids=["{}"]', "uids=['{}']", "--uids={}"])
def test_a_name_on_the_command_line(name, form):
    _, overrides, _ = parse_command_line(Config, [form.format(name)])
    assert load_config(Config, [], overrides).uids == [name]


def test_names_in_yaml(tmp_path):
    lines = "".join(f"- {name}\n" for name in NAMES if name != "a: b")
    (tmp_path / "a.yaml").write_text(f"backgrounds: [1e-1]\nuids:\n{lines}subsets:\n- roots: [001, no]\n  rate: 1e-1\n")
    config = load_config(Config, [tmp_path / "a.yaml"])
    assert config == Config([*NAMES[:-1]], backgrounds=[0.1], subsets=[Subset(["001", "no"], 0.1)])
    assert load_config(Config, [], ["subsets=[{roots: [001, no], rate: 1e-1}]"]).subsets == config.subsets
    assert load_config(Config, [], ["subsets={roots: [001]}"]).subsets == [Subset(["001"])]


def test_anchors_and_merges_in_yaml(tmp_path):
    text = "subsets:\n- &first\n  roots: &roots [01, 02]\n- <<: *first\n  rate: 2\nuids: *roots"
    (tmp_path / "a.yaml").write_text(text)
    expected = Config(["01", "02"], subsets=[Subset(["01", "02"]), Subset(["01", "02"], 2.0)])
    assert load_config(Config, [tmp_path / "a.yaml"]) == expected


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        ("[]", []),
        (" [ a , b ] ", ["a", "b"]),
        ("a,b,", ["a", "b"]),
        ("a b,c", ["a b", "c"]),
        ("don't,5\"", ["don't", '5"']),
        ("'it''s, here',\"a\\\"b\\u00e9\"", ["it's, here", 'a"bé']),
        ('""', [""]),
        ("a[1],{b},#c,&d,*e,!f,%g", ["a[1]", "{b}", "#c", "&d", "*e", "!f", "%g"]),
        ("${nowhere}", ["${nowhere}"]),
    ],
)
def test_how_lists_are_typed(text, items):
    assert split_list(text) == items
    assert load_config(Config, [], [f"uids={text}"]).uids == items


@pytest.mark.parametrize("text", ["[a", "a,,b", ",a", '"a', "'a", '"a"b', '"\\x"'])
def test_half_a_list_is_refused(text):
    with pytest.raises(UserError, match="uids=.*is not list of str"):
        load_config(Config, [], [f"uids={text}"])


def test_what_is_no_text_is_refused_in_yaml(tmp_path):
    for text in ("uids: 001", "uids: [[a]]", "uids: [{a: b}]", "uids:\n-\n"):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(UserError, match="uids"):
            load_config(Config, [tmp_path / "a.yaml"])


@settings(deadline=None)
@given(names)
@example(["???x", "${a}", "\\${b}", "a\\", "[x]", "", " ", "a,b", "\x85", "\n"])
def test_any_list_of_names_survives_the_command_line(items):
    assert split_list(join_list(items)) == items
    _, overrides, _ = parse_command_line(Config, ["--uids", as_typed(items), f"pair={as_typed(items)}"])
    config = load_config(Config, [], overrides)
    assert config.uids == items and list(config.pair) == items


@settings(deadline=None, max_examples=50)
@given(names)
@example(["${a}", "\\${b}", "a${", "\\\\${oc.env:HOME}", "=", "<<"])
@example(["\x85", "a\x85b"])
def test_any_list_of_names_survives_yaml(tmp_path_factory, items):
    file = tmp_path_factory.getbasetemp() / "saved.yaml"
    config = Config(items, subsets=[Subset(items)])
    save_config(config, file)
    assert load_config(Config, [file]) == config
    written = yaml.dump({"uids": items}, allow_unicode=True)
    # PyYAML itself loses a next-line character (U+0085) that it wrote.
    if not any("${" in name for name in items) and yaml.safe_load(written)["uids"] == items:
        file.write_text(written, encoding="utf-8")
        assert load_config(Config, [file]).uids == items


def test_a_config_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.yaml").write_text("uids: [é]\r\n", encoding="utf-8-sig")
    assert load_config(Config, [tmp_path / "a.yaml"]).uids == ["é"]
