"""What every runner has in common."""

from __future__ import annotations

from typing import Any, ClassVar


class Runner:
    """One job that `openlrm.launch` starts: a config in, files and an exit code out.

    The module of a runner is imported for `--help` as well: mindspore and other heavy packages belong inside
    `run`.

    Attributes:
        Config: dataclass of its options (see `openlrm.config.option`).
        summary: what it does, in a sentence or two.
        examples: whole commands shown by `--help`.
    """

    Config: ClassVar[type]
    summary: ClassVar[str] = ""
    examples: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Any) -> None:
        """Keep the config, an instance of `Config`."""
        self.config = config

    def run(self) -> int | None:
        """Do the job.

        Returns:
            Exit code; None means 0.

        Raises:
            UserError: something the user can put right; shown without traceback.
        """
        raise NotImplementedError
