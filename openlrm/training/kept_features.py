"""Features of an encoder that does not change, computed once for each picture."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from mindspore import Parameter

from openlrm.datasets.cache import ByteCache
from openlrm.utils.logging import get_logger
from openlrm.utils.paths import atomic_path, ensure_dir

logger = get_logger(__name__)


class KeptFeatures:
    """Looks a picture's features up in memory, then in files, and computes them when they are in neither.

    A picture is known by its numbers, an encoder by its weights. Each picture goes through the encoder alone, so that
    what a step gets does not depend on what was kept: a resumed run is the same bit for bit.

    Args:
        encode: one picture (1, 3, S, S) float32 -> its features (1, K, D) float32.
        capacity: bytes of memory.
        folder: for files; None keeps none.
        weights: of the encoder, by unique names; read when the first picture comes, and only when there are files.
    """

    def __init__(
        self,
        encode: Callable[[np.ndarray], np.ndarray],
        capacity: int,
        folder: Path | None = None,
        weights: Sequence[Parameter] = (),
    ) -> None:
        self._encode = encode
        self._memory = ByteCache(capacity)
        self._root = folder
        self._weights = weights

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Features (N, K, D) of pictures (N, 3, S, S) float32.

        Raises:
            UserError: a folder that cannot be written to.
        """
        return np.concatenate([self._one(picture[None]) for picture in pictures])

    def _one(self, picture: np.ndarray) -> np.ndarray:
        key = hashlib.blake2b(repr(picture.shape).encode() + picture.tobytes(), digest_size=16).hexdigest()
        features = self._memory.get(key)
        if features is None:
            features = self._from_file(key, picture)
            self._memory.put(key, features)
        return features

    @cached_property
    def _folder(self) -> Path | None:
        return None if self._root is None else ensure_dir(self._root / _digest_of(self._weights))

    def _from_file(self, key: str, picture: np.ndarray) -> np.ndarray:
        if self._folder is None:
            return self._encode(picture)
        path = self._folder / f"{key}.npy"
        if path.is_file():
            try:
                return np.load(path)
            except (ValueError, EOFError, OSError) as error:
                logger.warning("%s: computed again (%s)", path, error)
        features = self._encode(picture)
        with atomic_path(path) as beside, open(beside, "wb") as file:
            np.save(file, features)
        return features


def _digest_of(weights: Iterable[Parameter]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for parameter in weights:
        digest.update(f"{parameter.name} {parameter.shape}".encode())
        digest.update(np.ascontiguousarray(parameter.asnumpy()).data)
    return digest.hexdigest()
