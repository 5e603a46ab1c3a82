"""From a photograph to the picture a model expects: object cut out, centred, of the right size."""

from openlrm.preprocess.framing import BORDER_RATIO, border_ratio_at, recentre
from openlrm.preprocess.isnet import missing_for_isnet, remove_with_isnet
from openlrm.preprocess.picture import BACKGROUNDS, PreparedPicture, prepare_picture
from openlrm.preprocess.plain import remove_plain_background
from openlrm.preprocess.rembg_model import missing_for_rembg, remove_with_rembg

__all__ = [
    "BACKGROUNDS",
    "BORDER_RATIO",
    "PreparedPicture",
    "border_ratio_at",
    "missing_for_isnet",
    "missing_for_rembg",
    "prepare_picture",
    "recentre",
    "remove_plain_background",
    "remove_with_isnet",
    "remove_with_rembg",
]
