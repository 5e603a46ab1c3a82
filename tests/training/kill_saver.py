"""Saves checkpoints until it is killed, for test_kill.py.

    python kill_saver.py RUN

One process imports and forks: for every line on stdin a child that goes on from the newest state of the folder RUN.
Told on stdout: `pid N` of a child, `begin K`, `model K` and `end K` of its saves, `dead` once it is gone.
"""

import os
import sys
import time

import numpy as np

from openlrm.training.checkpoints import Checkpoints, Position

KEEP = 3
STEPS_SECONDS = 0.005
"""Between two saves: about half of what a save takes."""


def tensors(number: int) -> dict[str, np.ndarray]:
    """Weights of save `number`: every entry tells it."""
    return {f"layer.{i}.weight": np.full((64, 64 + i), number, np.float32) for i in range(8)}


def state(number: int) -> dict[str, np.ndarray]:
    """Moments that belong to them."""
    return {f"optimizer.{kind}.{name}": value for kind in "mv" for name, value in tensors(number).items()}


def tell(*words: object) -> None:
    """Write a line in one piece: a process killed later has said it."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def save(checkpoints: Checkpoints, number: int) -> None:
    """Save as the trainer does: the model, then the state to go on from."""
    tell("begin", number)
    checkpoints.save_model(tensors(number), number)
    tell("model", number)
    checkpoints.save_resume(tensors(number) | state(number), Position(step=number, epoch=number))
    tell("end", number)


def child(checkpoints: Checkpoints) -> None:
    """Go on from the newest state, without end but that of the process that forked."""
    tell("pid", os.getpid())
    parent = os.getppid()
    _, position = checkpoints.load_resume()
    number = position.step
    while os.getppid() == parent:
        number += 1
        time.sleep(STEPS_SECONDS)
        save(checkpoints, number)


def main(run: str) -> None:
    """Save once, which also loads what saving needs; then one child after another."""
    checkpoints = Checkpoints(run, KEEP)
    save(checkpoints, 1)
    checkpoints.load_resume()
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            child(checkpoints)
            os._exit(0)
        os.waitpid(pid, 0)
        tell("dead")


if __name__ == "__main__":
    main(sys.argv[1])
