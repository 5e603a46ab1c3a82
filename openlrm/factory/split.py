"""Who renders an object and what it is used for: decided by a hash of its name, the same on every machine."""

from __future__ import annotations

import hashlib
import re

from openlrm.errors import UserError


def parse_shard(text: str) -> tuple[int, int]:
    """Read `i/n`, the i-th of n shards, counted from 1.

    Returns:
        i and n, 1 <= i <= n.

    Raises:
        UserError: anything else.
    """
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    shard, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= shard <= count:
        raise UserError(f"shard={text} is not i/n with i from 1 to n", hint="1/4, 2/4, 3/4 and 4/4 are four machines")
    return shard, count


def in_shard(uid: str, shard: int, count: int) -> bool:
    """Whether an object belongs to a shard; adding or removing others does not change it."""
    return _number("shard", uid) % count == shard - 1


def is_validation(uid: str, share: float) -> bool:
    """Whether an object is kept for validation; a greater share keeps those of a smaller one."""
    return _number("split", uid) < share * 2**64


def _number(purpose: str, uid: str) -> int:
    """Return 0 .. 2^64 - 1; purposes are independent, so that every shard has its part of the validation objects."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{uid}".encode()).digest()[:8], "big")
