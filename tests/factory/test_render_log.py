import multiprocessing

import pytest

from openlrm.errors import UserError
from openlrm.factory.render_log import RenderLog, exhausted, read_logs
from openlrm.factory.work import Result


def test_lines_come_back(tmp_path):
    for shard in (1, 2):
        log = RenderLog(tmp_path, shard, 2)
        log.add(Result(f"object {shard}", "failed", "corrupt", 1.5, "abc"))
        log.add(Result(f"object {shard}", "done", stats={"coverage": 0.25}))
        log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["render_log.1-of-2.jsonl", "render_log.2-of-2.jsonl"]
    logs = read_logs(tmp_path)
    assert list(logs) == ["object 1", "object 2"]
    assert [line["state"] for line in logs["object 2"]] == ["failed", "done"]
    assert logs["object 1"][0] | {"host": ""} == Result("object 1", "failed", "corrupt", 1.5, "abc").to_dict()
    assert logs["object 1"][1]["stats"] == {"coverage": 0.25}


def test_half_a_line_costs_no_other(tmp_path):
    (tmp_path / "render_log.jsonl").write_text('{"uid": "a", "state": "done"}\n3\n{"uid": "b", "st')
    log = RenderLog(tmp_path)
    log.add(Result("c", "done"))
    log.close()
    assert list(read_logs(tmp_path)) == ["a", "c"]


def test_two_failures_are_enough_for_the_same_file():
    failure = {"uid": "a", "state": "failed", "sha256": "x", "reason": "corrupt"}
    assert exhausted([failure, failure], "x") == "corrupt"
    assert exhausted([failure, failure], "y") is None, "the file has been replaced"
    assert exhausted([failure], "x") is None


def second_driver(folder, answers):
    try:
        RenderLog(folder)
    except UserError as error:
        answers.put(str(error))
    else:
        answers.put("")


def test_two_drivers_do_not_share_a_log(tmp_path):
    pytest.importorskip("fcntl")
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()

    def ask():
        process = context.Process(target=second_driver, args=(tmp_path, answers))
        process.start()
        process.join()
        return answers.get(timeout=10)

    log = RenderLog(tmp_path)
    assert "another driver is rendering into this folder" in ask()
    log.close()
    assert ask() == ""
