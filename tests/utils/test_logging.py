import logging
import re

import pytest
import tqdm

from openlrm.errors import UserError
from openlrm.utils.logging import get_logger, setup_logging


@pytest.fixture(autouse=True)
def _leave_the_root_as_it_was():
    root = logging.getLogger("openlrm")
    before = root.handlers[:], root.level, root.propagate
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level, root.propagate = before


def test_console_is_short_and_file_is_stamped(tmp_path, capsys):
    file = tmp_path / "logs" / "run.txt"
    setup_logging("info", file)
    get_logger("openlrm.x").debug("not shown")
    get_logger("openlrm.x").info("planes %d", 3)
    get_logger("elsewhere").warning("thin")
    captured = capsys.readouterr()
    assert captured.err == "planes 3\nwarning: thin\n"
    assert captured.out == ""
    first, second = file.read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO openlrm\.x: planes 3", first)
    assert second.endswith("WARNING openlrm.elsewhere: thin")


def test_second_setup_replaces_the_first(capsys):
    setup_logging("info")
    setup_logging("WARNING")
    get_logger("openlrm.x").info("hidden")
    get_logger("openlrm.x").error("once")
    assert capsys.readouterr().err == "error: once\n"


def test_lines_go_above_a_progress_bar(capsys):
    setup_logging()
    with tqdm.tqdm(total=2, desc="bar", mininterval=0) as bar:
        bar.update()
        get_logger("openlrm.x").info("said")
    # tqdm rubs the bar out with a carriage return before the line, so the line starts at the margin.
    assert re.search(r"\r *\rsaid\n", capsys.readouterr().err)


def test_unknown_level_and_unwritable_file(tmp_path):
    with pytest.raises(UserError, match="'loud'"):
        setup_logging("loud")
    with pytest.raises(UserError, match="cannot write"):
        setup_logging("info", tmp_path)
