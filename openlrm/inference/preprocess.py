"""A picture of an object -> what the encoder takes."""

import numpy as np

from openlrm.utils.images import load_image, pad_to_square, resize_bicubic
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)

# Mean brightness of a picture's outermost pixels below which its background is not called white.
_WHITE = 0.9


def prepare_image(path: str, size: int) -> np.ndarray:
    """Read a picture as model input.

    Transparency is blended on white; a picture that is not square gets white margins; bicubic (align_corners=True)
    to the source size, clipped.

    Args:
        path: png, jpg or webp.
        size: side in pixels the model was trained with.

    Returns:
        (1, 3, size, size) float32 in [0, 1].

    Raises:
        UserError: unreadable or empty picture.
    """
    image = load_image(path)
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    if border.mean() < _WHITE:
        logger.warning("%s: the background is not white; remove it (RGBA) or the object will stand in a box", path)
    if image.shape[0] != image.shape[1]:
        logger.info("%s: %d x %d is padded to a square", path, image.shape[1], image.shape[0])
        image = pad_to_square(image)
    resized = resize_bicubic(image.transpose(2, 0, 1), size)
    return np.ascontiguousarray(np.clip(resized, 0, 1)[None], np.float32)
