"""What `test_two_workers` starts with msrun: several runners one after another, in one job of two workers.

Arguments: folder for the exit codes; file with a JSON list of argument lists of `openlrm.launch`. Words `--terminate`
in front of one mean that the second worker gets SIGTERM during the third step.
"""

import json
import os
import signal
import sys
from pathlib import Path

from openlrm.launch import main
from openlrm.parallel import setup_world
from openlrm.training.update import Update


def terminating(rank: int) -> None:
    """Let the second worker alone hear the signal, in the middle of a step."""
    step = Update.__call__

    def and_signal(self, batches, number):
        if number == 2 and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batches, number)

    Update.__call__ = and_signal


def run(folder: Path, jobs: list[list[str]]) -> None:
    """Do every job, whatever became of the one before."""
    codes = []
    step = Update.__call__
    for arguments in jobs:
        if arguments[0] == "--terminate":
            terminating(int(os.environ["RANK_ID"]))
            arguments = arguments[1:]
        codes.append(main(arguments))
        Update.__call__ = step
        # An error of one worker must not end the other before it has told its own.
        setup_world().barrier()
    (folder / f"codes-{os.environ['RANK_ID']}.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    run(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()))
