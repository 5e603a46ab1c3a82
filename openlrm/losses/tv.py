"""Total variation of planes: keeps neighbouring texels alike where no ray has looked."""

from mindspore import Tensor


def total_variation(planes: Tensor) -> Tensor:
    """Mean squared difference of neighbouring rows plus the same of columns.

    Args:
        planes: (N, 3, C, H, W).

    Returns:
        Scalar.
    """
    rows = planes[:, :, :, 1:] - planes[:, :, :, :-1]
    columns = planes[..., 1:] - planes[..., :-1]
    return (rows * rows).mean() + (columns * columns).mean()
