import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openlrm.errors import UserError
from openlrm.utils import paths
from openlrm.utils.paths import (
    atomic_dir,
    atomic_path,
    check_apart,
    check_output,
    ensure_dir,
    list_images,
    unique_output_names,
)


def names_in(folder):
    return sorted(entry.name for entry in Path(folder).iterdir())


def test_atomic_path_appears_only_when_complete(tmp_path):
    final = tmp_path / "new" / "a.mp4"
    with atomic_path(final) as temporary:
        assert temporary.parent == final.parent
        assert temporary.suffix == ".mp4"
        temporary.write_bytes(b"12")
        assert not final.exists()
    assert final.read_bytes() == b"12"
    assert names_in(final.parent) == ["a.mp4"]


@pytest.mark.parametrize("raised", [RuntimeError, KeyboardInterrupt])
def test_atomic_path_keeps_the_earlier_file_on_failure(tmp_path, raised):
    final = tmp_path / "a.txt"
    final.write_text("old")
    with pytest.raises(raised), atomic_path(final) as temporary:
        temporary.write_text("half")
        raise raised
    assert final.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_atomic_path_refuses_a_folder_and_a_device(tmp_path):
    with pytest.raises(UserError, match="folder or device"), atomic_path(tmp_path):
        pass
    with pytest.raises(UserError, match="folder or device"), atomic_path("/dev/null"):
        pass


def test_full_disk_is_the_users_matter(tmp_path):
    with pytest.raises(UserError, match="No space left") as caught, atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.where == tmp_path / "a"
    assert names_in(tmp_path) == []


def test_trouble_with_another_file_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(PermissionError), atomic_path(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "denied", "/elsewhere/input.npy")


def test_longest_file_name_can_be_written(tmp_path):
    final = tmp_path / ("x" * 251 + ".txt")
    with atomic_path(final) as temporary:
        temporary.write_text("")
    assert final.exists()
    for write in (atomic_path, atomic_dir):
        with pytest.raises(UserError, match="name too long"), write(tmp_path / ("x" * 300)):
            pytest.fail("an impossible name must be refused before the work")
    assert names_in(tmp_path) == [final.name]


def fill(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(name)


def test_atomic_dir_replaces_only_what_it_is_made_of(tmp_path):
    final = tmp_path / "frames"
    fill(final, "000.png", "001.png")
    with atomic_dir(final, replaceable="[0-9]*.png") as temporary:
        fill(temporary, "000.png")
    assert names_in(final) == ["000.png"]
    (final / "notes.txt").write_text("mine")
    for pattern in ("[0-9]*.png", None):
        with pytest.raises(UserError, match="other files"), atomic_dir(final, pattern):
            pytest.fail("other people's files must be noticed before the work")
    assert names_in(final) == ["000.png", "notes.txt"]


def test_atomic_dir_failure_leaves_the_earlier_folder(tmp_path, monkeypatch):
    final = tmp_path / "frames"
    fill(final, "000.png", "001.png")
    with pytest.raises(RuntimeError), atomic_dir(final, replaceable="*") as temporary:
        fill(temporary, "000.png")
        raise RuntimeError
    replace = os.replace

    def fail_to_put_in_place(source, target):
        if Path(target) == final and "000.png" in names_in(source) and "001.png" not in names_in(source):
            raise OSError(errno.EROFS, "Read-only file system", str(target))
        replace(source, target)

    monkeypatch.setattr(paths.os, "replace", fail_to_put_in_place)
    with pytest.raises(UserError, match="Read-only"), atomic_dir(final, replaceable="*") as temporary:
        fill(temporary, "000.png")
    assert names_in(final) == ["000.png", "001.png"]
    assert names_in(tmp_path) == ["frames"]


def test_ensure_dir(tmp_path, monkeypatch):
    assert ensure_dir(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError) as caught:
            ensure_dir(path)
        assert caught.value.where == path
    monkeypatch.setattr(paths.os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match="permissions"):
        ensure_dir(tmp_path)


def test_list_images_is_recursive_sorted_and_picky(tmp_path):
    for name in ("b.PNG", "a/c.jpeg", "a/d.webp", "z.Jpg", "notes.txt", ".hidden.png", ".cache/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    found = list_images(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a/c.jpeg", "a/d.webp", "b.PNG", "z.Jpg"]
    assert list_images(str(tmp_path / "z.Jpg")) == [tmp_path / "z.Jpg"]
    (tmp_path / "empty").mkdir()
    for path, message in (
        ("gone.png", "no such"),
        ("empty", "no picture"),
        ("notes.txt", "not a picture"),
        ("x" * 300, "no such"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            list_images(tmp_path / path)
        assert caught.value.where == tmp_path / path


def test_list_images_counts_follows_links_and_names_what_it_cannot_read(tmp_path, caplog):
    folder = tmp_path / "in"
    for name in ("10.png", "9.png", "._9.png", "a.jfif", "b.heic", "c.svg", "d.nef", "notes.txt", "__MACOSX/9.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "l.png").write_text("")
    (folder / "more").symlink_to(tmp_path / "linked")
    (folder / "round").symlink_to(folder)
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    with caplog.at_level("WARNING"):
        found = [str(path.relative_to(folder)) for path in list_images(folder)]
    assert found == ["9.png", "10.png", "a.jfif", "gone.png", "more/l.png"]
    assert "b.heic, c.svg, d.nef" in caplog.text and "notes" not in caplog.text
    for name in ("9.png", "10.png", "a.jfif", "gone.png", "more"):
        (folder / name).unlink()
    with pytest.raises(UserError, match=r"no picture in the folder, of the kinds we read \(b\.heic"):
        list_images(folder)


def test_results_are_no_input(tmp_path, monkeypatch):
    for name in ("in/a.png", "in/out/a.png", "in/out/deep/b.png", "in/other/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path / "in")
    (tmp_path / "link").symlink_to(tmp_path / "in" / "out")
    for results in ("out", tmp_path / "in" / "out", tmp_path / "link"):
        assert [str(path) for path in list_images(".", [results])] == ["a.png", "other/c.png"]
    assert len(list_images(tmp_path / "in", [tmp_path, tmp_path / "in"])) == 4
    check_apart(".", "out")
    check_apart("a.png", ".")
    with pytest.raises(UserError, match="among those they are made from"):
        check_apart(".", tmp_path / "in")


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.png").write_text("")
    assert list_images("~/a.png") == list_images("~") == [tmp_path / "a.png"]


def test_a_folder_that_cannot_be_read_is_a_warning(tmp_path, monkeypatch, caplog):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.png").write_text("")
    scan = os.scandir

    def refuse(folder):
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr("openlrm.utils.tree.os.scandir", refuse)
    assert list_images(tmp_path) == [tmp_path / "a.png"]
    assert "closed: passed over (Permission denied)" in caplog.text


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (["in/cup.png"], ["cup"]),
        (["in/a/cup.png", "in/b/cup.png", "in/hat.png"], ["a_cup", "b_cup", "hat"]),
        (["in/cup.png", "in/a/cup.png"], ["cup", "a_cup"]),
        (["in/cup.png", "in/cup.jpg"], ["cup_png", "cup_jpg"]),
        (["in/a/cup.png", "in/b/cup.png", "in/a_cup.png"], ["a_cup_png_1", "b_cup", "a_cup_png_2"]),
        (["in/Cup.png", "in/cup.png"], ["Cup_png_1", "cup_png_2"]),
        (["in/c.2.png", "in/a/c.2.png"], ["c.2", "a_c.2"]),
    ],
)
def test_unique_output_names(inputs, names):
    assert unique_output_names(inputs, "in") == names


def test_names_collide_over_all_endings_of_their_results():
    def name(*inputs):
        return unique_output_names(inputs, "in", (".mp4", "_mask.mp4"))

    assert name("in/cup.png", "in/hat.png") == ["cup", "hat"]
    assert name("in/cup.png", "in/cup_mask.png") == ["cup_png", "cup_mask_png"]
    assert name("in/a/cup.png", "in/b/cup_mask.png") == ["a_cup", "b_cup_mask"]
    assert unique_output_names(["in/\u00e9.png", "in/e\u0301.png"], "in") == ["\u00e9_png_1", "e\u0301_png_2"]


paths_of_pictures = st.from_regex(r"([ab]/){0,2}[abA](_m|_d|_m_d|_1)?\.(png|jpg)", fullmatch=True)


@given(st.lists(paths_of_pictures, unique=True), st.lists(st.sampled_from(["", ".mp4", "_m.mp4", "_d.mp4", "_1.mp4"])))
def test_no_result_replaces_another(inputs, endings):
    names = unique_output_names(inputs, ".", endings)
    files = [(name + ending).casefold() for name in names for ending in set(endings)]
    assert len(set(files)) == len(files)


@given(st.lists(st.from_regex(r"([abA]/){0,2}[abA]([_1]|_1)?\.(png|jpg)", fullmatch=True), unique=True))
def test_output_names_never_collide(inputs):
    names = unique_output_names(inputs, ".")
    assert len({name.casefold() for name in names}) == len(inputs)
    assert not any("/" in name for name in names)


def test_what_cannot_be_written_is_known_before(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for path in ("new.txt", "file", "a/b/new.txt", "folder/new.txt"):
        check_output(tmp_path / path)
    for path in ("file/new.txt", "file/a/new.txt", "folder", "x" * 300):
        with pytest.raises(UserError, match="cannot write|a folder or device stands"):
            check_output(tmp_path / path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no file system here that only looks like one")
def test_a_place_that_is_no_disk_is_told():
    """Even root may not write there, though the rights say so."""
    for path in ("/proc/new.txt", "/proc/a/b/new.txt"):
        with pytest.raises(UserError, match="cannot write"):
            check_output(path)
    with pytest.raises(UserError, match="cannot write"):
        ensure_dir("/proc/new")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_told_before(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(UserError, match="cannot write"):
        check_output(tmp_path / "closed" / "new.txt")
