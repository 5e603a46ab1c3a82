"""A batch in the layout of `openlrm.datasets`, made of the golden arrays."""

import numpy as np
import pytest

REGION = 12


@pytest.fixture
def batch(golden) -> dict[str, np.ndarray]:
    """The golden batch; its masks are made up."""
    target = golden["target"]
    random = np.random.default_rng(3)
    return {
        "source_camera": golden["source_camera"],
        "source_image": golden["image"],
        "render_camera": golden["render_cameras"],
        "render_image": target,
        "render_mask": random.random((*target.shape[:2], 1, *target.shape[3:])).astype(np.float32),
        "render_anchors": golden["render_anchors"],
        "render_full_resolutions": golden["render_resolutions"],
        "render_bg_colors": golden["render_bg_colors"],
    }
