"""`compare`: two results -> what is better in which."""

from __future__ import annotations

from dataclasses import dataclass

from openlrm.config import option
from openlrm.runners.base import Runner


@dataclass
class CompareConfig:
    """Options of `compare`."""

    run_a: str = option(help="folder of a training run, or results of an evaluation", positional=True)
    run_b: str = option(help="another one of the same kind", positional=True)
    output: str = option("comparison.html", "the page")


class Compare(Runner):
    """Compare two evaluations, or two training runs."""

    Config = CompareConfig
    summary = (
        "Compare two results of eval.lrm (means over the objects both have, objects by their change, sheets side by "
        "side, differences of protocol), or two runs of train.lrm (validation, options that differ, curves, pictures). "
        "Prints a table and writes OUTPUT, one HTML file."
    )
    examples = (
        "python -m openlrm.launch compare output/small/e50000 output/small/e100000",
        "python -m openlrm.launch compare outputs/tiny/TIME outputs/tiny/LATER output=tiny.html",
    )

    def run(self) -> None:
        """Print the table; the page's path is its last line."""
        from openlrm.reports import compare, read_result
        from openlrm.utils.paths import atomic_path, check_output

        cfg = self.config
        check_output(cfg.output)
        page, text = compare(read_result(cfg.run_a), read_result(cfg.run_b))
        with atomic_path(cfg.output) as temporary:
            temporary.write_text(page, encoding="utf-8")
        print(f"{text}wrote {cfg.output}")
