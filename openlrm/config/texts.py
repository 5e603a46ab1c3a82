"""Lists of names that stay as they were written: YAML alone reads 001 as 1, 1e3 as 1000.0 and no as false."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from openlrm.config.schema import Option, options

# Up to the next comma: a quoted item, in which a comma, the other quote and escapes count for nothing, or a bare one.
_ITEM = re.compile(
    r"""\s*(?:(?P<double>"(?:[^"\\]|\\.)*")|'(?P<single>(?:[^']|'')*)'|(?P<bare>[^"',][^,]*|))\s*(,|$)""", re.DOTALL
)


class _TextLoader(yaml.SafeLoader):
    """Builds what SafeLoader builds, but every untagged scalar as its text."""


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:merge"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_texts(yaml_text: str) -> Any:
    """Read YAML with every scalar as its text; an explicit tag (`!!int 3`) is obeyed.

    Raises:
        yaml.YAMLError: it is not readable.
    """
    loader = _TextLoader(yaml_text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def keep_texts(schema: type, content: dict, texts: Any) -> dict:
    """Put the items of all lists of text back to how they are written.

    Args:
        schema: dataclass of the options.
        content: what the YAML means, dotted or nested keys.
        texts: the same YAML as `parse_texts` reads it.

    Returns:
        `content` with text in place of numbers, truth values and nulls in the lists of text.
    """
    return _keep(options(schema), content, texts) if isinstance(texts, dict) else content


def keep_item_texts(choice: Option, value: Any, text: Any) -> Any:
    """Do what `keep_texts` does for the value of one option."""
    if not isinstance(value, list) or not isinstance(text, list):
        if choice.item_schema and isinstance(value, dict) and isinstance(text, dict):
            return _keep(options(choice.item_schema), value, text)
        return value
    pairs = zip(value, text, strict=True)
    if choice.item_schema:
        known = options(choice.item_schema)
        return [
            _keep(known, item, words) if isinstance(item, dict) and isinstance(words, dict) else item
            for item, words in pairs
        ]
    # An item that is nothing at all is no text.
    return [words if isinstance(words, str) and words else item for item, words in pairs] if choice.of_text else value


def split_list(text: str) -> list[str]:
    """Take a list of text as it is typed apart: `a,b`, `[a, b]`, with quotes around what holds a comma.

    Args:
        text: items between commas; spaces around them do not count. In double quotes the escapes of JSON mean what
            they mean there, in single quotes two stand for one.

    Raises:
        ValueError: a bracket or a quote without its other half, or nothing between two commas.
    """
    inner = text.strip()
    if inner.startswith("["):
        if not inner.endswith("]"):
            raise ValueError("a bracket is not closed")
        inner = inner[1:-1]
    items, place = [], 0
    while inner[place:].strip():
        found = _ITEM.match(inner, place)
        if found is None or (found["bare"] is not None and not found["bare"].strip()):
            raise ValueError("a quote is not closed, or there is no name between two commas")
        double, single, bare = found["double"], found["single"], found["bare"]
        if double is not None:
            items.append(json.loads(double, strict=False))
        else:
            items.append(bare.strip() if single is None else single.replace("''", "'"))
        place = found.end()
    return items


def join_list(items: list[str] | tuple[str, ...]) -> str:
    """Write a list of text so that `split_list` reads the same."""
    return "[" + ",".join(map(_quoted, items)) + "]"


def literal(text: str) -> str:
    r"""Return a text that OmegaConf takes as it stands: `${` begins no interpolation in it."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def _quoted(item: str) -> str:
    plain = item and item == item.strip() and not set(item) & set(",[]\"'\n\r")
    return item if plain else json.dumps(item, ensure_ascii=False)


def _keep(known: dict[str, Option], content: dict, texts: dict, prefix: str = "") -> dict:
    kept = {}
    for name, value in content.items():
        key, text = f"{prefix}{name}", texts.get(name)
        if key in known:
            kept[name] = keep_item_texts(known[key], value, text)
        elif isinstance(value, dict) and isinstance(text, dict):
            kept[name] = _keep(known, value, text, f"{key}.")
        else:
            kept[name] = value
    return kept
