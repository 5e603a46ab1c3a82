"""What a single process and a wrong start are told; two workers are in test_two_workers."""

import pytest

from openlrm.errors import UserError
from openlrm.parallel import ALONE, World, setup_world
from openlrm.parallel.world import lost_workers_told


def test_one_process_is_alone(monkeypatch):
    monkeypatch.delenv("MS_ROLE", raising=False)
    assert setup_world() is ALONE
    assert setup_world(False) is ALONE
    assert ALONE.leads
    assert ALONE.sum([1.5, 2.0]) == [1.5, 2.0]
    assert ALONE.any(True) and not ALONE.any(False)
    assert ALONE.texts("ä") == ["ä"]


def test_shares_are_disjoint_and_complete():
    shares = [World(rank, 3).share("abcdefgh") for rank in range(3)]
    assert shares == [["a", "d", "g"], ["b", "e", "h"], ["c", "f"]]


def test_starts_that_contradict_the_option(monkeypatch):
    monkeypatch.delenv("MS_ROLE", raising=False)
    with pytest.raises(UserError, match="a single process. start with msrun --worker_num=N"):
        setup_world(True)
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    monkeypatch.setenv("MS_WORKER_NUM", "8")
    with pytest.raises(UserError, match="msrun started 8 workers"):
        setup_world(False)


def test_a_failed_operation_names_the_other_workers():
    with pytest.raises(UserError, match=r"other workers \(Launch kernel failed\).*--resume"), lost_workers_told():
        raise RuntimeError("Launch kernel failed\nC++ call stack")
