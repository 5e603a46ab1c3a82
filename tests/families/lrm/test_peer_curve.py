"""Twenty training steps against the same steps in PyTorch, whose losses are stored (make_peer.py).

Same weights, batches and draws; the other side's optimiser is torch's own (peer_curve.py). The weights are those of
`strong_start`: with them the picture matters from the first step.
"""

import numpy as np
import pytest
from peer_inputs import REGION, SEEDS, STEPS, checksum, draw_batches, first_model

from openlrm.families.lrm.options import LossConfig
from openlrm.training.config import OptimConfig, SchedulerConfig
from openlrm.training.update import Update

pytestmark = pytest.mark.slow

# PyTorch itself in float32 leaves its float64 curve: by 1.8e-3 of the loss with seed 11 (from the seventh step on), by
# 5e-5 and 1.3e-4 with the others. Adam's first steps divide gradients by their own size, and draws that change their
# bin move a sample: rounding becomes that much, and two float32 programs differ by as much as each from float64. (This
# is where the 6e-4 between the two came from that a fixed limit of 5e-4 refused.) So float64 is the measure, and a
# program may leave it by a few times what the other's float32 does.
TIMES_OF_FLOAT32 = 4
# The first loss has no step behind it.
FIRST = 1e-6


@pytest.mark.parametrize("seed", SEEDS)
def test_losses_of_twenty_steps(seed, peer, mini_config, pynative, task_of, record_property):
    model = first_model(mini_config, seed)
    stored = "MindSpore draws other first weights than those of the stored curves: run make_peer.py"
    assert checksum(model) == peer[f"curve{seed}/weights"], stored
    # The same numbers as in peer_curve.py.
    task = task_of(
        model,
        LossConfig(perceptual_weight=0.0, tv_weight=5e-4),
        seed=seed,
        region=REGION,
        optim=OptimConfig(start_learning_rate=4e-4, betas=[0.9, 0.95], eps=1e-8, weight_decay=4.0, max_grad_norm=0.05),
        scheduler=SchedulerConfig(scheduler="cosine", warmup_steps=4, end_learning_rate=0.0),
    )
    update = Update(task, task.config.train, STEPS)
    losses = np.array([update([batch], step).parts["loss"] for step, batch in enumerate(draw_batches(seed))])
    exact, rounded = peer[f"curve{seed}/float64"], peer[f"curve{seed}/float32"]
    ours, theirs = np.abs(losses / exact - 1), np.abs(rounded / exact - 1)
    record_property("largest relative deviation", float(ours.max()))
    print(f"seed {seed}: {ours.max():.1e} from float64, PyTorch in float32 {theirs.max():.1e}")
    assert len(exact) == STEPS
    assert ours[0] < FIRST
    assert ours.max() < TIMES_OF_FLOAT32 * theirs.max()
