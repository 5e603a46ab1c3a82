"""Several sets of objects as one list, and the order in which an epoch goes through it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from openlrm.config.schema import nearest
from openlrm.datasets.config import SubsetConfig
from openlrm.datasets.held_out import training_list
from openlrm.datasets.mindrecord import open_pack
from openlrm.datasets.objaverse import ObjaverseObject, existing_root, read_object, read_uids
from openlrm.datasets.storage import Place
from openlrm.errors import UserError


class Mixture:
    """Objects of all subsets, numbered one after another.

    Attributes:
        uids: name of every object.
    """

    def __init__(self, subsets: Sequence[SubsetConfig], uids: Sequence[str] | None = None) -> None:
        """Read the lists of objects.

        Args:
            subsets: sets of objects with their rates.
            uids: keep these alone.

        Raises:
            UserError: a folder or a list that cannot be read, or a uid that is in none of the lists.
        """
        self.uids: list[str] = []
        self._roots: list[list[Place]] = []
        self._spans: list[tuple[int, int, int]] = []
        self._starts: list[int] = []
        wanted = None if uids is None else set(uids)
        known: set[str] = set()
        for subset in subsets:
            open_root = open_pack if subset.name == "mindrecord" else existing_root
            roots = [open_root(root) for root in subset.root_dirs]
            listed = read_uids(training_list(subset))
            start = len(self.uids)
            self.uids += [uid for uid in listed if wanted is None or uid in wanted]
            count = len(self.uids) - start
            if count:
                self._roots.append(roots)
                self._starts.append(start)
                self._spans.append((start, count, max(1, round(count * subset.sample_rate))))
            known.update(listed if wanted else ())
        if unknown := sorted((wanted or set()) - known):
            near = nearest(unknown[0], known)
            raise UserError(f"no object {unknown[0]!r}", "data", f"did you mean {near}?" if near else None)
        if not self.uids:
            raise UserError("no objects left", "data")

    def __len__(self) -> int:
        """Return the number of items in an epoch."""
        return sum(drawn for _, _, drawn in self._spans)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the objects of an epoch.

        Every object of a subset comes up as often as its rate says, or once less or more for the fraction in it.

        Args:
            rng: its state decides everything.

        Returns:
            (len(self),) object numbers.
        """
        chosen = []
        for start, count, drawn in self._spans:
            rounds = -(-drawn // count)
            chosen.append(start + np.concatenate([rng.permutation(count) for _ in range(rounds)])[:drawn])
        return rng.permutation(np.concatenate(chosen))

    def read(self, number: int) -> ObjaverseObject:
        """Open an object in the first folder of its subset that has it.

        Raises:
            UserError: it is in none of them, or what `read_object` refuses.
        """
        uid, roots = self.uids[number], self._roots_of(number)
        for root in roots:
            if (root / uid).is_dir():
                return read_object(root, uid)
        raise UserError(f"no object {uid!r} in any folder", ", ".join(map(str, roots)))

    def overlap(self, other: Mixture) -> list[str]:
        """Return the uids of `other` that are objects of this one too: by name, or by the folder they lie in.

        An object rendered twice keeps its name, so equal names in different folders count.
        """
        names = {_plain(uid) for uid in self.uids}
        spans = [
            (os.path.realpath(root), {_plain(uid) for uid in self.uids[start : start + count]})
            for (start, count, _), roots in zip(self._spans, self._roots, strict=True)
            for root in roots
            if isinstance(root, Path)
        ]

        def is_here(number: int) -> bool:
            uid, roots = other.uids[number], other._roots_of(number)
            if _plain(uid) in names:
                return True
            # Only the folder that has it, where there are several.
            root = next((root for root in roots[:-1] if (root / uid).is_dir()), roots[-1])
            if not isinstance(root, Path):
                return False
            folder = Path(os.path.realpath(root / uid))
            return any(
                folder.is_relative_to(top) and folder.relative_to(top).as_posix() in below for top, below in spans
            )

        return [uid for number, uid in enumerate(other.uids) if is_here(number)]

    def _roots_of(self, number: int) -> list[Place]:
        return self._roots[int(np.searchsorted(self._starts, number, side="right")) - 1]


def _plain(uid: str) -> str:
    """Return a uid without what does not change the folder it names, as in `./cup/`."""
    return str(PurePosixPath(uid))
