"""Packing of matrices for the compiled products."""

import numpy as np
import pytest

from openlrm.ops.fused import pack_tiles


@pytest.mark.parametrize(("inner", "width"), [(64, 64), (128, 192), (256, 64)])
@pytest.mark.parametrize("layout", ["rows", "columns", "part"])
def test_tiles_of_a_matrix(inner, width, layout):
    matrix = np.random.default_rng(0).normal(size=(inner, width)).astype(np.float32)
    expected = matrix.reshape(inner // 64, 64, width // 64, 64).transpose(2, 0, 1, 3)
    if layout == "columns":
        matrix = np.asfortranarray(matrix)
    elif layout == "part":
        matrix = np.pad(matrix, ((0, 64), (0, 64)))[:inner, :width]
    np.testing.assert_array_equal(pack_tiles(matrix), expected.reshape(-1))
