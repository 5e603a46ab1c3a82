"""Write docs/options/: every option of every runner with type, default and meaning, out of the schema.

python scripts/docs_options.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from openlrm.config import describe
from openlrm.config.help import as_typed
from openlrm.config.schema import groups, options, positionals
from openlrm.launch import exit_code
from openlrm.runners import find_runner, runner_table

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "options"
_NOTE = "<!-- Written by scripts/docs_options.py; change the schema, then run it again. -->\n"


def pages() -> dict[str, str]:
    """Return the pages by file name: one for every runner, and index.md."""
    found = {"index.md": _index()}
    for name in runner_table():
        found[f"{name}.md"] = runner_page(name)
    return found


def runner_page(name: str) -> str:
    """Return the page of a runner as Markdown."""
    runner = find_runner(name)
    schema = runner.Config
    unnamed = "".join(f" {choice.key.upper()}" for choice in positionals(schema))
    lines = [f"{_NOTE}\n# {name}\n", _cell(runner.summary), ""]
    lines += [f"    python -m openlrm.launch {name}{unnamed} [options]\n"]
    lines += ["Examples:\n", *(f"    {example}" for example in runner.examples), ""]
    rows, known = describe(schema), options(schema)
    for group, about in ({"": ""} | groups(schema)).items():
        entries = [row for row in rows if row[0].rpartition(".")[0] == group]
        if not entries:
            continue
        lines += [f"## {group or 'Options'}\n"] + ([f"{_sentence(about)}\n"] if about else [])
        lines += _table(entries, {key: known[key].rules.get("alias", ()) for key, *_ in entries})
        for key, *_ in entries:
            if item := known[key].item_schema:
                lines += [f"Every item of `{key}`:\n", *_table(describe(item), {})]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Write the pages, and remove those of runners that are gone."""
    FOLDER.mkdir(exist_ok=True)
    wanted = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def _index() -> str:
    head = (
        "# Options\n\nEvery option can stand in a YAML file (`--config FILE`, later files win), as `key=value` and as "
        "`--key value`. Flags may leave out the groups where the last part is unique: `--epochs` is `train.epochs`. "
        "`null` is none; a list is written `[a,b]` or `a,b`.\n\n| runner | what it does |\n|---|---|"
    )
    rows = (f"| [`{name}`]({name}.md) | {_cell(about)} |" for name, about in runner_table().items())
    return "\n".join([_NOTE, head, *rows]) + "\n"


def _table(entries: Iterable[tuple], aliases: dict[str, tuple]) -> list[str]:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, kind, default, meaning in entries:
        shown = "required" if default == "???" else f"`{as_typed(default)}`" if default != "" else "empty"
        also = "".join(f"; also `--{name}`" for name in aliases.get(key, ()))
        lines.append(f"| `{key}` | {_cell(kind)} | {_cell(shown)} | {_cell(meaning)}{also} |")
    return [*lines, ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


if __name__ == "__main__":
    sys.exit(exit_code(main))
