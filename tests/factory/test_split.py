import pytest
from hypothesis import given
from hypothesis import strategies as st

from openlrm.errors import UserError
from openlrm.factory.split import in_shard, is_validation, parse_shard

UIDS = [f"object {number}" for number in range(4000)]


@given(st.text(), st.integers(1, 50))
def test_every_object_is_in_one_shard(uid, count):
    assert sum(in_shard(uid, shard, count) for shard in range(1, count + 1)) == 1


def test_shards_are_of_about_one_size():
    sizes = [sum(in_shard(uid, shard, 4) for uid in UIDS) for shard in (1, 2, 3, 4)]
    assert sum(sizes) == 4000 and min(sizes) > 900


def test_shards_stay_the_same():
    """Machines and versions have to agree. Values from `printf "shard:a" | sha256sum`: parity of the 16th digit."""
    digits = {"a": 0x1, "b": 0x8, "c": 0xF, "d": 0x0, "e": 0xA, "f": 0xE, "g": 0xE, "h": 0xE}
    assert {uid for uid in digits if in_shard(uid, 1, 2)} == {uid for uid, digit in digits.items() if not digit % 2}
    assert [uid for uid in UIDS[:60] if is_validation(uid, 0.05)] == ["object 7", "object 26", "object 52"]


def test_validation_share():
    kept = {share: {uid for uid in UIDS if is_validation(uid, share)} for share in (0, 0.05, 0.2, 1)}
    assert kept[0] == set() and kept[1] == set(UIDS)
    assert 150 < len(kept[0.05]) < 250 and 700 < len(kept[0.2]) < 900
    assert kept[0.05] < kept[0.2]
    in_first = sum(in_shard(uid, 1, 4) for uid in kept[0.2])
    assert 150 < in_first < 250, "shard and split are independent"


def test_parse():
    assert parse_shard("2/8") == (2, 8)
    for text in ("0/2", "3/2", "1", "a/b", "1/0", "-1/2", "", "1/2/3"):
        with pytest.raises(UserError, match="counted|i/n"):
            parse_shard(text)
