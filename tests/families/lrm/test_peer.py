"""Planes of models of full size against the same models in PyTorch, whose results are stored (make_peer.py)."""

import numpy as np
import pytest
from mindspore import Tensor
from peer_inputs import SIZES, drawn_model, smooth_picture, source_record, summary

pytestmark = pytest.mark.slow

# Twelve layers in float32 by other kernels, of the planes' largest value.
TOLERANCE = 1e-4


@pytest.mark.parametrize("kind", SIZES)
def test_planes(kind, peer, pynative):
    model = drawn_model(kind)
    planes = model.forward_planes(Tensor(smooth_picture(SIZES[kind])), Tensor(source_record())).asnumpy()
    ours, largest = summary(planes), peer[f"{kind}/largest"]
    assert abs(ours["largest"] / largest - 1) < TOLERANCE
    assert np.abs(ours["entries"] - peer[f"{kind}/entries"]).max() < TOLERANCE * largest
    np.testing.assert_allclose(ours["norms"], peer[f"{kind}/norms"], rtol=TOLERANCE)
