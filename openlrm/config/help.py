"""The options of a schema in words."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf

from openlrm.config.schema import groups, options, positionals, structured
from openlrm.config.texts import join_list

_WIDTH = 100


def describe(schema: type) -> list[tuple[str, str, Any, str]]:
    """List every option of a schema as (dotted key, type in words, default, help).

    The default of an option the user has to give is the text "???".
    """
    defaults = OmegaConf.to_container(structured(schema), throw_on_missing=False)

    def default(key: str) -> Any:
        value = defaults
        for name in key.split("."):
            value = value[name]
        return value

    return [
        (key, choice.type_name, default(key), choice.rules.get("help", "")) for key, choice in options(schema).items()
    ]


def format_help(schema: type, usage: str, summary: str = "", examples: Sequence[str] = ()) -> str:
    """Write the help page of a runner.

    Args:
        schema: dataclass of its options.
        usage: the command, such as `python -m openlrm.launch infer.lrm`.
        summary: what it does, in a sentence.
        examples: whole commands.

    Returns:
        Text of lines up to 100 columns, ending in a newline; examples are never broken.
    """
    unnamed = "".join(f" {choice.key.upper()}" for choice in positionals(schema))
    lines = [f"usage: {usage}{unnamed} [--config FILE] [key=value ...] [--key value ...]"]
    if summary:
        lines += ["", *textwrap.wrap(summary, _WIDTH)]
    if examples:
        lines += ["", "examples:", *(f"  {example}" for example in examples)]
    headings = {"": "options"} | {key: f"{key}: {text}" if text else key for key, text in groups(schema).items()}
    rows = describe(schema)
    known = options(schema)
    for group, heading in headings.items():
        entries = [row for row in rows if row[0].rpartition(".")[0] == group]
        if not entries:
            continue
        lines += ["", heading]
        for key, type_name, default, text in entries:
            shown = "<required>" if default == "???" else as_typed(default)
            also = "".join(f", also --{name}" for name in known[key].rules.get("alias", ()))
            lines.append(f"  {key}={shown}  ({type_name}{also})")
            lines += textwrap.wrap(text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
            if item := known[key].item_schema:
                lines += [f"      .{name}  ({kind}): {about}" for name, kind, _, about in describe(item)]
    return "\n".join(lines) + "\n"


def as_typed(value: Any) -> str:
    """Show a value the way it is typed on the command line."""
    if value is None:
        return "null"
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return join_list(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(as_typed, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
