"""A training item: what a model is given of an object, and what it must render of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from openlrm.cameras import Camera
from openlrm.datasets.regions import composite, resize_region, whole_view

WHITE = 1.0


@dataclass(frozen=True)
class Item:
    """Source views and target views of one object; with a leading axis of objects in every array, a batch of them.

    K source views of S x S pixels, M target views of which a region of R x R pixels is rendered. Pictures are float32
    in [0, 1].

    Attributes:
        source_images: (K, 3, S, S) on white.
        source_cameras: (K,) their cameras.
        images: (M, 3, R, R) regions of the target views on their backgrounds.
        masks: (M, 1, R, R) their alpha.
        cameras: (M,) of the target views.
        anchors: (M, 2) row and column of the regions in pixels.
        sizes: (M,) side in pixels of the whole target images.
        backgrounds: (M,) grey levels in [0, 1].
        depths: (M, 1, R, R) distance along the ray in world units, 0 where nothing is hit; None where there are none.
        normals: (M, 3, R, R) unit normals in world axes, 0 where nothing is hit; None where there are none.
    """

    source_images: np.ndarray
    source_cameras: Camera
    images: np.ndarray
    masks: np.ndarray
    cameras: Camera
    anchors: np.ndarray
    sizes: np.ndarray
    backgrounds: np.ndarray
    depths: np.ndarray | None = None
    normals: np.ndarray | None = None

    def arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """Every array that is there by its name, a camera's as `cameras.c2w` and `cameras.intrinsics`."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Camera):
                yield f"{field.name}.c2w", value.c2w
                yield f"{field.name}.intrinsics", value.intrinsics
            elif value is not None:
                yield field.name, value

    def with_sources(self, source_images: np.ndarray) -> Item:
        """The same with other source pictures."""
        return replace(self, source_images=source_images)


def collate(items: Sequence[Item]) -> Item:
    """Put items of one class and the same K, M, S and R into a batch; what one of them lacks, the batch lacks."""
    kind = type(items[0])
    return kind(**{field.name: _stack([getattr(item, field.name) for item in items]) for field in fields(kind)})


def _stack(values: list[Any]) -> Any:
    if any(value is None for value in values):
        return None
    return Camera.stack(values) if isinstance(values[0], Camera) else np.stack(values)


def draw_item(
    sources: Sequence[np.ndarray],
    source_cameras: Camera,
    source_size: int,
    targets: Sequence[np.ndarray],
    cameras: Camera,
    size: int,
    anchors: np.ndarray,
    region: int,
    backgrounds: np.ndarray,
) -> Item:
    """Make an item of stored views.

    Args:
        sources: K views (4, H, W) uint8, straight alpha.
        source_cameras: (K,).
        source_size: S, side in pixels of the model's input.
        targets: M views like `sources`.
        cameras: (M,).
        size: side in pixels that whole target views are resized to.
        anchors: (M, 2) upper left corners of the regions in it.
        region: R, side of a region in pixels.
        backgrounds: (M,) grey levels the regions are put on.
    """
    parts = [resize_region(view, size, anchor, region) for view, anchor in zip(targets, anchors, strict=True)]
    return Item(
        source_images=np.stack([whole_view(view, source_size, WHITE) for view in sources]),
        source_cameras=source_cameras,
        images=np.stack([composite(*part, grey) for part, grey in zip(parts, backgrounds, strict=True)]),
        masks=np.clip(np.stack([alpha for _, alpha in parts]), 0, 1),
        cameras=cameras,
        anchors=np.asarray(anchors, np.float32),
        sizes=np.full(len(targets), size, np.float32),
        backgrounds=np.asarray(backgrounds, np.float32),
    )
