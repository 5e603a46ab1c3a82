"""How long a diagnosis takes here, by a few steps of it."""

from __future__ import annotations

import time
from itertools import islice

from mindspore import Tensor

from openlrm.diagnosis.objects import kept_views
from openlrm.diagnosis.oracle import sized
from openlrm.diagnosis.session import Session
from openlrm.fitting.whole_views import FreePlanes, WholeViewsTask
from openlrm.training.estimate import duration, peak_memory
from openlrm.training.update import Update


def oracle_fact(session: Session) -> str:
    """Time and memory of all fits of the oracle, by the second of two steps."""
    cfg, uid = session.config, session.uids[0]
    subject, predicted = session.subject(uid), session.subject(uid).predict(session.reconstructor)
    field = FreePlanes(Tensor(predicted.planes.asnumpy().copy()), predicted.synthesizer)
    fitted, _ = kept_views(len(subject.views), cfg.kept_views)
    views = sized(subject.views, cfg.render_size).take(fitted)
    task = WholeViewsTask(field, views, cfg.views_per_step, cfg.lr, cfg.seed, uid)
    update = Update(task, task.run_config(cfg.num_iters).train, cfg.num_iters)
    seconds = 0.0
    for step, (_, _, batch) in enumerate(islice(task.batches(0, 0, 1), 2)):
        start = time.perf_counter()
        update([batch], step)
        seconds = time.perf_counter() - start
    fits = (cfg.repeats if cfg.init != "rand" else 0) + (cfg.init != "pred")
    total = duration(len(session.uids) * fits * cfg.num_iters * seconds)
    measured = f"{seconds:.2f} s a step (the second of two), peak memory {peak_memory():.1f} GiB"
    return f"time of the oracle: about {total} for {fits} fits of each object: {measured}"
