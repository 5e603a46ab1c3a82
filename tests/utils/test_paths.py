import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openlrm.errors import UserError
from openlrm.utils import paths
from openlrm.utils.paths import atomic_dir, atomic_path, check_output, ensure_dir, list_images, unique_output_names


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
