"""Declare options in a dataclass, and walk over them."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import functools
import math
import operator
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from openlrm.errors import UserError

MAX_SIZE = 1 << 20
"""No size of a model is larger: a config from a stranger must not make products of endless numbers."""
MAX_SEED = 2**32 - 1
"""Greatest seed that NumPy and MindSpore both take."""


def option(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    choices: Sequence | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    length: int | None = None,
    alias: str | Sequence[str] = (),
    positional: bool = False,
) -> Any:
    """Declare one field of a config dataclass.

    Args:
        default: value when none is given; mutable ones are copied for every config; left out, the user has
            to give a value. A dataclass makes a group (leave it out if some of its options are required).
        help: what it means, with its unit.
        choices: the values allowed; for a list, of its items.
        minimum: least value allowed, itself included.
        maximum: greatest value allowed, itself included.
        length: how many items a list has; any number without it.
        alias: further names of its `--flag`.
        positional: whether its value may stand on the command line by itself; in the order of the fields.

    Example:
        >>> @dataclasses.dataclass
        ... class Config:
        ...     mesh_size: int = option(384, "samples along an edge of the cube", minimum=2)
    """
    metadata = {
        "help": help,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
        "length": length,
        "alias": (alias,) if isinstance(alias, str) else tuple(alias),
        "positional": positional,
    }
    if isinstance(default, type) and dataclasses.is_dataclass(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    if isinstance(default, (list, dict, set)) or dataclasses.is_dataclass(default):
        return dataclasses.field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a schema.

    Attributes:
        key: dotted name.
        type: annotation without its None.
        optional: whether None (`null`) is allowed.
        rules: metadata as `option` stores it; empty for a plain dataclass field.
    """

    key: str
    type: Any
    optional: bool
    rules: types.MappingProxyType

    @property
    def is_sequence(self) -> bool:
        """Whether it holds a list or a tuple."""
        return typing.get_origin(self.type) in (list, tuple) or self.type in (list, tuple)

    @property
    def of_text(self) -> bool:
        """Whether it holds a list of text."""
        return typing.get_origin(self.type) in (list, tuple) and set(typing.get_args(self.type)) <= {str, Ellipsis}

    @property
    def item_schema(self) -> type | None:
        """The dataclass of the items of a list of dataclasses; None for any other option."""
        item = typing.get_args(self.type)[0] if typing.get_origin(self.type) is list else None
        return item if dataclasses.is_dataclass(item) else None

    @property
    def type_name(self) -> str:
        """The type, the choices and the range in words."""
        choices, least, greatest = (self.rules.get(name) for name in ("choices", "minimum", "maximum"))
        name = " | ".join(map(str, choices)) if choices else _type_name(self.type)
        if choices and self.is_sequence:
            name = f"list of {name}"
        if length := self.rules.get("length"):
            name = name.replace("list of", f"list of {length}", 1)
        if least is not None and greatest is not None:
            name += f" from {least} to {greatest}"
        elif least is not None or greatest is not None:
            name += f" >= {least}" if greatest is None else f" <= {greatest}"
        return f"{name} or null" if self.optional else name

    def check(self, value: Any, where: object) -> None:
        """Raise UserError if a value of the right type breaks the rules, is not finite, or takes more than 64 bits."""
        length = self.rules.get("length")
        if length is not None and value is not None and len(value) != length:
            raise UserError(f"{self.key} has {len(value)} values, not {length}: it is a {self.type_name}", where)
        choices, least, greatest = (self.rules.get(name) for name in ("choices", "minimum", "maximum"))
        for item in value if self.is_sequence and value is not None else [value]:
            if item is None:
                continue
            inside = (least is None or item >= least) and (greatest is None or item <= greatest)
            if not inside or not _representable(item) or (choices and item not in choices):
                hint = None
                if choices and (near := difflib.get_close_matches(str(item), map(str, choices), 1)):
                    hint = f"did you mean {near[0]}?"
                raise UserError(f"{self.key}={item} is not {self.type_name}", where, hint)


def options(schema: type, prefix: str = "") -> dict[str, Option]:
    """Return the options of a dataclass and of the dataclasses in it, by dotted key, in order."""
    found = {}
    for field, hint in _fields(schema):
        key = prefix + field.name
        if dataclasses.is_dataclass(hint):
            found |= options(hint, f"{key}.")
        else:
            inner, optional = _without_none(hint)
            found[key] = Option(key, inner, optional, field.metadata)
    return found


def positionals(schema: type) -> list[Option]:
    """Return the options whose values may stand on the command line without their names, in order."""
    return [choice for choice in options(schema).values() if choice.rules.get("positional")]


def structured(schema: type) -> DictConfig:
    """Return the defaults of a schema as a typed OmegaConf object; what the user has to give is missing."""
    config = OmegaConf.structured(schema)
    for field, hint in _fields(schema):
        # OmegaConf takes a group without default for one missing value.
        if dataclasses.is_dataclass(hint) and OmegaConf.is_missing(config, field.name):
            config[field.name] = structured(hint)
    return config


def groups(schema: type, prefix: str = "") -> dict[str, str]:
    """Return the help of every nested dataclass by its dotted key, in order."""
    found = {}
    for field, hint in _fields(schema):
        if dataclasses.is_dataclass(hint):
            found[prefix + field.name] = field.metadata.get("help", "")
            found |= groups(hint, f"{prefix}{field.name}.")
    return found


def nearest(name: str, keys: Iterable[str]) -> str | None:
    """Return the key a mistyped or wrongly nested name most likely meant, or None."""

    def likeness(key: str) -> float:
        ends = (text.rpartition(".")[2] for text in (name.casefold(), key.casefold()))
        # The last part counts by itself, for a name in the wrong group, but a little less.
        return max(_ratio(name.casefold(), key.casefold()), 0.95 * _ratio(*ends))

    best = max(keys, key=likeness, default=None)
    return best if best is not None and likeness(best) >= 0.6 else None


def _representable(item: Any) -> bool:
    """Whether a number is finite, and small enough where it is whole for the libraries that take it."""
    if isinstance(item, float):
        return math.isfinite(item)
    return type(item) is not int or -(2**63) <= item < 2**63


def _ratio(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()


def _fields(schema: type) -> list[tuple[dataclasses.Field, Any]]:
    hints = typing.get_type_hints(schema)
    return [(field, hints[field.name]) for field in dataclasses.fields(schema) if field.init]


def _without_none(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(hint) if part is not type(None)]
        return functools.reduce(operator.or_, inner), len(inner) < len(typing.get_args(hint))
    return hint, hint is Any


def _type_name(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list or (origin is tuple and arguments[-1] is Ellipsis):
        return f"list of {_type_name(arguments[0])}"
    if origin is tuple:
        return f"[{', '.join(map(_type_name, arguments))}]"
    return getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
