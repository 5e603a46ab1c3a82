"""A picture of an object -> what the encoder takes."""

import numpy as np

from openlrm.utils.decoding import shrink
from openlrm.utils.images import blend_on_white, load_pixels, pad_to_square, resize_bicubic
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)

# The cubic looks at four pixels: a picture far larger would be sampled, not shrunk. Up to here it is what training does
# (renders of 512 for a source of 224), and so has to be what inference does.
_LARGEST = 512 / 224
# Mean brightness of a picture's outermost pixels below which its background is not called white.
_WHITE = 0.9


def prepare_image(image, size: int, name: object = None) -> np.ndarray:
    """Turn a picture into model input.

    A picture more than 16/7 times that large is shrunk smoothly to that first; transparency is blended on white; what
    is not square gets white margins; bicubic (align_corners=True) to the source size, clipped.

    Args:
        image: anything that `openlrm.utils.images.load_pixels` takes.
        size: side in pixels the model was trained with.
        name: what to call the picture in messages.

    Returns:
        (1, 3, size, size) float32 in [0, 1].

    Raises:
        UserError: unreadable or empty picture.
    """
    pixels = blend_on_white(shrink(load_pixels(image), round(_LARGEST * size)), name)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if border.mean() < _WHITE:
        logger.warning("%s: the background is not white; remove it (RGBA) or the object will stand in a box", name)
    if pixels.shape[0] != pixels.shape[1]:
        logger.info("%s: %d x %d is padded to a square", name, pixels.shape[1], pixels.shape[0])
        pixels = pad_to_square(pixels)
    resized = resize_bicubic(pixels.transpose(2, 0, 1), size)
    return np.ascontiguousarray(np.clip(resized, 0, 1)[None], np.float32)
