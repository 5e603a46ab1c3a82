import pickle

import pytest

from openlrm.errors import UserError


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        (("no such file",), "no such file"),
        (("no such file", "a.png"), "no such file: a.png"),
        (("no such file", "a.png", "check the path"), "no such file: a.png. check the path"),
        (("no such file", None, "check the path"), "no such file. check the path"),
        (("no such file.", "a.png.", "check"), "no such file: a.png. check"),
        (("two\nlines", "a\tb", "and\r\n more "), "two lines: a b. and more"),
    ],
)
def test_str_is_one_tidy_line(parts, line):
    assert str(UserError(*parts)) == line


def test_is_a_value_error_that_survives_pickling():
    error = pickle.loads(pickle.dumps(UserError("what", "where", "hint")))
    assert isinstance(error, ValueError)
    assert (error.what, error.where, error.hint) == ("what", "where", "hint")
