import json
import sys
import types

import pytest

from openlrm.errors import UserError
from openlrm.factory.sources import Source, fetch_objaverse, find_sources, read_objaverse_uids


@pytest.fixture
def folder(tmp_path):
    for name in ("cup.glb", "kitchen/Cup.OBJ", "kitchen/pan.usdz", "kitchen/notes.txt", "._cup.glb"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    return tmp_path / "in"


def named(sources, folder):
    return {source.uid: source.path.relative_to(folder).as_posix() for source in sources}


def test_folder(folder):
    found = {"cup": "cup.glb", "kitchen/Cup": "kitchen/Cup.OBJ", "kitchen/pan": "kitchen/pan.usdz"}
    assert named(find_sources(str(folder)), folder) == found
    assert [source.uid for source in find_sources(str(folder))] == sorted(found)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.txt", "# mine\nkitchen/pan.usdz\n\nmug\tcup.glb\n", {"pan": "kitchen/pan.usdz", "mug": "cup.glb"}),
        ("a.json", '["cup.glb", "kitchen/Cup.OBJ"]', {"cup": "cup.glb", "Cup": "kitchen/Cup.OBJ"}),
        ("a.json", '{"a/b": "cup.glb"}', {"a/b": "cup.glb"}),
    ],
)
def test_lists(folder, name, text, expected):
    (folder / name).write_text(text)
    assert named(find_sources(str(folder / name)), folder) == expected


@pytest.mark.parametrize(("name", "text"), [("a.txt", "cup.glb\n"), ("a.json", '["cup.glb"]')])
def test_lists_that_windows_wrote(folder, name, text):
    """With a byte order mark, and lines as they end there."""
    (folder / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert named(find_sources(str(folder / name)), folder) == {"cup": "cup.glb"}
    assert read_objaverse_uids(str(folder / name)) == ["cup.glb"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.txt", None, "no such folder or list of objects"),
        ("a.txt", "# nothing", "no 3D file there"),
        ("a.txt", "cup.glb\nother/cup.fbx", "two objects are called 'cup'"),
        ("a.txt", "../up\tcup.glb", "'../up' does not stay inside"),
        ("a.txt", "cup.part\tcup.glb", "must not be called 'cup.part'"),
        ("a.json", "{", "cannot read the list"),
        ("a.json", "[1]", "something other than names"),
        ("a.json", "3", "cannot read the list"),
        ("a.json", '{"a": null}', "something other than names"),
    ],
)
def test_bad_lists(folder, name, text, message):
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(UserError, match=message):
        find_sources(str(folder / name))


def test_two_files_of_one_name(folder):
    (folder / "cup.obj").touch()
    with pytest.raises(UserError, match=r"two objects are called 'cup': .*cup\.(glb|obj) and .*cup\.(glb|obj)"):
        find_sources(str(folder))


def test_an_empty_folder(tmp_path):
    with pytest.raises(UserError, match="no 3D file there"):
        find_sources(str(tmp_path))


class TestObjaverse:
    def test_uids(self, tmp_path):
        (tmp_path / "a.txt").write_text("b\na\nb\n")
        (tmp_path / "a.json").write_text(json.dumps(["b", "a"]))
        for name in ("a.txt", "a.json"):
            assert read_objaverse_uids(str(tmp_path / name)) == ["a", "b"]
        (tmp_path / "b.txt").write_text("\n")
        with pytest.raises(UserError, match="no uid"):
            read_objaverse_uids(str(tmp_path / "b.txt"))

    def test_objects_come_from_the_package(self, monkeypatch):
        def load_objects(uids, download_processes):
            assert (uids, download_processes) == (["b", "a"], 3)
            return {uid: f"/cache/{uid}.glb" for uid in uids}

        monkeypatch.setitem(sys.modules, "objaverse", types.SimpleNamespace(load_objects=load_objects))
        found = fetch_objaverse(["b", "a"], 3)
        assert [(source.uid, source.path.as_posix()) for source in found] == [
            ("a", "/cache/a.glb"),
            ("b", "/cache/b.glb"),
        ]

    def test_what_its_downloads_raise(self, monkeypatch):
        def load_objects(uids, download_processes):
            raise KeyError("nobody")

        monkeypatch.setitem(sys.modules, "objaverse", types.SimpleNamespace(load_objects=load_objects))
        with pytest.raises(UserError, match=r"cannot be fetched \(KeyError: 'nobody'\)"):
            fetch_objaverse(["nobody"], 1)

    def test_without_the_package(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "objaverse", None)
        with pytest.raises(UserError, match="pip install objaverse"):
            fetch_objaverse(["a"], 1)


def test_one_file(folder):
    """The lines of a mesh are no names of objects."""
    (folder / "chair.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (only,) = find_sources(str(folder / "chair.obj"))
    assert only == Source("chair", folder / "chair.obj")
    (folder / "chair.dae").write_text("<COLLADA/>")
    with pytest.raises(UserError, match=r"neither a 3D file we read nor a list \(\.dae\)"):
        find_sources(str(folder / "chair.dae"))
    with pytest.raises(UserError, match="no such folder or list"):
        find_sources(str(folder / "none.obj"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("name", "text"), [("a.txt", "cup.glb\r\nmug\tkitchen/pan.usdz\r\n"), ("a.json", '["cup.glb"]')]
)
def test_lists_with_a_byte_order_mark(folder, encoding, name, text):
    (folder / name).write_bytes(text.encode(encoding))
    found = named(find_sources(str(folder / name)), folder)
    assert found == ({"cup": "cup.glb", "mug": "kitchen/pan.usdz"} if name == "a.txt" else {"cup": "cup.glb"})


def test_linked_folders_are_followed_once(folder, tmp_path):
    (tmp_path / "elsewhere" / "garden").mkdir(parents=True)
    (tmp_path / "elsewhere" / "garden" / "gnome.ply").touch()
    (folder / "a").symlink_to(tmp_path / "elsewhere")
    (folder / "b").symlink_to(tmp_path / "elsewhere")
    (folder / "0").symlink_to(folder / "kitchen")
    (folder / "kitchen" / "round").symlink_to(folder)
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "cup.glb").touch()
    assert [source.uid for source in find_sources(str(folder))] == [
        "a/garden/gnome",
        "cup",
        "kitchen/Cup",
        "kitchen/pan",
    ]
