"""Text files and names of other programs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openlrm.utils.texts import decode, list_lines, natural_key


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_any_mark_is_read_and_left_out(encoding):
    mark = "\ufeff" if encoding[-2:] in ("le", "be") else ""
    assert list_lines(decode(f"{mark}é a\r\n\r\n b \rc".encode(encoding))) == ["é a", "b", "c"]


def test_lists_that_were_put_together_and_text_that_is_none():
    assert list_lines("\ufeffa\n\ufeffb\n\ufeff\n") == ["a", "b"]
    assert list_lines("a\x85b\u2028c\x0bd") == ["a\x85b\u2028c\x0bd"]
    with pytest.raises(UnicodeDecodeError):
        decode(b"\x89PNG")


def test_numbers_are_counted():
    names = [str(number) for number in range(5, 13)] + ["a2b10", "a2b9", "a10b1", "a", "b", "007", "7", "0"]
    expected = ["0", "5", "6", "007", "7", "8", "9", "10", "11", "12", "a", "a2b9", "a2b10", "a10b1", "b"]
    assert sorted(set(names), key=natural_key) == expected


@given(st.lists(st.text("0123456789ab²٣ ", max_size=6)))
def test_any_names_have_one_order(names):
    names = list(dict.fromkeys(names))
    assert sorted(names, key=natural_key) == sorted(set(names), key=natural_key)
    numbers = [name for name in names if name.isascii() and name.isdigit()]
    assert [int(name) for name in sorted(numbers, key=natural_key)] == sorted(map(int, numbers))
