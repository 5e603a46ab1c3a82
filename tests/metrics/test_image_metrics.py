"""PSNR and SSIM against their formulas, written out another way."""

import numpy as np
import pytest

from openlrm.metrics import psnr, ssim


def picture(seed=0, shape=(3, 20, 24)):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def test_psnr_of_known_differences():
    a = np.full((3, 4, 5), 0.5, np.float32)
    assert psnr(a, a + np.float32(0.1)) == pytest.approx(20, abs=1e-4)
    assert psnr(a, a) == float("inf")
    half = a.copy()
    half[:, :2] += 0.1
    assert psnr(a, half) == pytest.approx(20 + 10 * np.log10(2), abs=1e-4)
    assert psnr(np.zeros((3, 2, 2)), np.ones((3, 2, 2))) == 0


@pytest.mark.parametrize("mask_shape", [(4, 5), (1, 4, 5)])
@pytest.mark.parametrize("kind", [bool, np.float32])
def test_psnr_inside_a_mask(mask_shape, kind):
    a = picture(1, (2, 3, 4, 5))
    b = a + np.float32(0.1)
    b[:, :, 2:] = 9
    mask = np.zeros(mask_shape, kind)
    mask[..., :2, :] = 1
    assert psnr(a, b, mask) == pytest.approx(20, abs=1e-4)
    assert psnr(a, b) < 0


def test_psnr_refuses_what_it_cannot_compare():
    with pytest.raises(ValueError, match=r"\(3, 4, 5\) and \(3, 5, 4\)"):
        psnr(np.zeros((3, 4, 5)), np.zeros((3, 5, 4)))
    with pytest.raises(ValueError, match="no pixel"):
        psnr(picture(), picture(), np.zeros((20, 24), bool))


def windowed_ssim(a, b):
    """The definition, one window at a time."""
    x = np.arange(-5, 6)
    weights = np.exp(-(x[:, None] ** 2 + x**2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for p, q in zip(a.astype(np.float64), b.astype(np.float64), strict=True):
        for i in range(p.shape[0] - 10):
            for j in range(p.shape[1] - 10):
                s, t = p[i : i + 11, j : j + 11], q[i : i + 11, j : j + 11]
                ms, mt = (weights * s).sum(), (weights * t).sum()
                vs, vt = (weights * (s - ms) ** 2).sum(), (weights * (t - mt) ** 2).sum()
                cov = (weights * (s - ms) * (t - mt)).sum()
                values.append((2 * ms * mt + 1e-4) * (2 * cov + 9e-4) / ((ms**2 + mt**2 + 1e-4) * (vs + vt + 9e-4)))
    return np.mean(values)


def test_ssim_is_the_published_formula():
    a = picture(2)
    b = np.clip(0.7 * a + 0.3 * picture(3), 0, 1)
    assert ssim(a, b) == pytest.approx(windowed_ssim(a, b), abs=1e-9)
    assert ssim(a, a) == pytest.approx(1)
    assert ssim(np.stack([a, a]), np.stack([b, a])) == pytest.approx((ssim(a, b) + 1) / 2)


def test_ssim_refuses_small_and_unequal_images():
    assert ssim(picture(4, (1, 11, 11)), picture(5, (1, 11, 11))) < 1
    with pytest.raises(ValueError, match="at least 11 x 11 pixels, not 10 x 24"):
        ssim(picture(shape=(3, 10, 24)), picture(shape=(3, 10, 24)))
    with pytest.raises(ValueError, match="one shape"):
        ssim(picture(), picture(shape=(3, 24, 20)))
    with pytest.raises(ValueError, match="one shape"):
        ssim(picture(shape=(20, 24)), picture(shape=(20, 24)))
