"""Several sets of objects as one list, and the order in which an epoch goes through it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openlrm.config.schema import nearest
from openlrm.datasets.config import SubsetConfig
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
            listed = read_uids(subset.meta_path or roots[0] / "meta.json")
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
        uid = self.uids[number]
        roots = self._roots[int(np.searchsorted(self._starts, number, side="right")) - 1]
        for root in roots:
            if (root / uid).is_dir():
                return read_object(root, uid)
        raise UserError(f"no object {uid!r} in any folder", ", ".join(map(str, roots)))
