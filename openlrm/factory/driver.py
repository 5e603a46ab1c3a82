"""Render what is not there yet, and try once more what failed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openlrm.errors import UserError
from openlrm.factory.render_log import ATTEMPTS, RenderLog, exhausted
from openlrm.factory.settings import RenderSettings
from openlrm.factory.sources import Source
from openlrm.factory.work import FAILED, Job, Result, file_hash, is_complete
from openlrm.utils.logging import get_logger
from openlrm.utils.paths import atomic_path

logger = get_logger(__name__)

Engine = Callable[[Sequence[Job]], Iterator[Result]]
"""Renders jobs and yields their results as they come."""

_SETTINGS_FILE = "render_settings.json"


@dataclass
class Plan:
    """What there is to do.

    Attributes:
        todo: objects to render.
        tries: attempts that each of them has left.
        finished: number of those that are there already.
        given_up: reason by uid of those that failed often enough.
    """

    todo: list[Source] = field(default_factory=list)
    tries: dict[str, int] = field(default_factory=dict)
    finished: int = 0
    given_up: dict[str, str] = field(default_factory=dict)


def make_plan(
    sources: Sequence[Source], output: Path, logs: dict[str, list[dict[str, Any]]], retry_failed: bool = False
) -> Plan:
    """Sort objects into those that are there, those to render, and those given up.

    Args:
        sources: all objects of this shard.
        output: folder of rendered objects.
        logs: from `read_logs`.
        retry_failed: try those again that were given up.
    """
    plan = Plan()
    for source in sources:
        lines = logs.get(source.uid, [])
        if is_complete(output, source.uid):
            plan.finished += 1
            continue
        failures = sum(line["state"] == FAILED for line in lines)
        reason = exhausted(lines, file_hash(source.path)) if failures and not retry_failed else None
        if reason is not None:
            plan.given_up[source.uid] = reason
            continue
        plan.todo.append(source)
        plan.tries[source.uid] = ATTEMPTS if retry_failed or failures >= ATTEMPTS else ATTEMPTS - failures
    return plan


def keep_settings(output: Path, settings: RenderSettings) -> None:
    """Note the settings in the output folder, or compare them with those noted there.

    Raises:
        UserError: the folder holds objects of other settings.
    """
    file = output / _SETTINGS_FILE
    wanted = dataclasses.asdict(settings)
    try:
        noted = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        with atomic_path(file) as temporary:
            temporary.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
        return
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the settings of the earlier objects ({error})", file) from error
    for name, value in wanted.items():
        # The device does not change what is meant to be seen: shards run on what their machines have.
        if name != "device" and (not isinstance(noted, dict) or noted.get(name) != value):
            before = noted.get(name) if isinstance(noted, dict) else None
            hint = "objects of one set are rendered alike: use them, or another output"
            raise UserError(f"render.{name}={value}, but the objects there have {before}", file, hint)


def run_plan(plan: Plan, make_job: Callable[[Source], Job], engine: Engine, log: RenderLog) -> dict[str, str]:
    """Render, log every result, and try again what failed.

    Args:
        plan: what to do.
        make_job: says how.
        engine: does it.
        log: gets a line for every attempt.

    Returns:
        Reason by uid of what failed in the end.
    """
    from tqdm import tqdm

    tries = dict(plan.tries)
    todo, failed = list(plan.todo), {}
    start, attempts = time.monotonic(), 0
    with tqdm(total=len(todo), desc="render", unit="object", disable=None) as bar:
        while todo:
            again = []
            with contextlib.closing(engine([make_job(source) for source in todo])) as results:
                sources = {source.uid: source for source in todo}
                for result in results:
                    log.add(result)
                    tries[result.uid] -= 1
                    attempts += 1
                    if result.state == FAILED and tries[result.uid] > 0:
                        logger.info("to be tried again: %s: %s", result.uid, result.reason)
                        again.append(sources[result.uid])
                        continue
                    if result.reason:
                        logger.warning("%s: %s: %s", result.state, result.uid, result.reason)
                    if result.state == FAILED:
                        failed[result.uid] = result.reason
                    bar.update()
                    per_minute = 60 * attempts / (time.monotonic() - start)
                    bar.set_postfix_str(f"{per_minute:.1f} objects/min, {len(failed)} failed", refresh=False)
            todo = again
    return failed
