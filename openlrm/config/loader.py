"""YAML files and `key=value` overrides into one checked dataclass, and back."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from openlrm.config.schema import Option, groups, nearest, options, structured
from openlrm.config.texts import keep_item_texts, keep_texts, literal, parse_texts, split_list
from openlrm.errors import UserError
from openlrm.utils.paths import atomic_path

COMMAND_LINE = "command line"
Config = TypeVar("Config")


def load_config(
    schema: type[Config], yaml_files: Iterable[str | os.PathLike] = (), overrides: Sequence[str] = ()
) -> Config:
    """Fill a config: its defaults, then the files in order, then the overrides.

    Args:
        schema: dataclass whose fields are the options; dataclasses in it are groups of options.
        yaml_files: later ones win.
        overrides: `key=value` with dotted keys. Text is taken as it stands, `=` included, but for the home
            folder `~/`, and so are the items of
            a list of text (see `openlrm.config.texts.split_list`); anything else is read as YAML; a list may go
            without brackets (`0,0.5,1`); `null` means None.

    Returns:
        An instance of `schema`.

    Raises:
        UserError: a file that is missing or no YAML, an unknown key, a value of the wrong type or outside its
            range, an option without value, or two different values for one key among the overrides.
    """
    known = options(schema)
    config = structured(schema)
    where = dict.fromkeys(known, "default")
    given = [(key, value, path) for path in yaml_files for key, value in _read_yaml(path, schema)]
    given += [(key, value, COMMAND_LINE) for key, value in _read_overrides(overrides, schema, known).items()]
    for key, value, source in given:
        _assign(config, known[key], value, source)
        where[key] = source
    try:
        if missing := sorted(OmegaConf.missing_keys(config)):
            raise UserError(f"no value for {', '.join(missing)}", hint=f"give {missing[0]}=...")
        for key, choice in known.items():
            choice.check(OmegaConf.select(config, key), where[key])
        return OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise UserError(f"cannot work out the config ({_first_line(error)})") from error


def save_config(config: object, path: str | os.PathLike) -> None:
    """Write a config as YAML that `load_config` reads back to an equal one.

    Args:
        config: dataclass instance.
        path: file, written whole or not at all.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(to_yaml(config), encoding="utf-8")


def to_yaml(config: object) -> str:
    """Write a config as the text of a YAML file that `load_config` reads back to an equal one."""
    return OmegaConf.to_yaml(OmegaConf.create(_literal(dataclasses.asdict(config))))


def _literal(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _literal(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_literal(item) for item in value]
    return literal(value) if isinstance(value, str) else value


def unknown_key(key: str, schema: type, where: object) -> UserError:
    """Return the error for a key the schema does not have, with the one that was meant."""
    known = options(schema)
    if key in groups(schema):
        inside = next(name for name in known if name.startswith(f"{key}."))
        return UserError(f"{key} is a group of options, not one", where, f"set those in it, such as {inside}")
    near = nearest(key, known)
    return UserError(f"unknown option {key}", where, f"did you mean {near}?" if near else "--help lists the options")


def _read_yaml(path: str | os.PathLike, schema: type) -> Iterator[tuple[str, Any]]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        content = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=False)
        texts = parse_texts(text)
    except FileNotFoundError as error:
        raise UserError("no such config file", path, "check the path") from error
    except Exception as error:
        # Values that contradict their tag raise nearly anything: `!!bool x` KeyError, `!!timestamp x` AttributeError.
        raise UserError(f"cannot read the config file ({error})", path) from error
    if not isinstance(content, dict):
        raise UserError("a config file holds `key: value` lines, not a list", path)
    yield from _flatten(keep_texts(schema, content, texts), schema, path)


def _flatten(content: dict, schema: type, where: object) -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of a mapping as YAML gives it."""
    known, sections = options(schema), groups(schema)

    def walk(section: dict, prefix: str) -> Iterator[tuple[str, Any]]:
        for name, value in section.items():
            key = f"{prefix}{name}"
            if key in known:
                yield key, _from_yaml(known[key], value, where)
            elif key in sections and (value is None or isinstance(value, dict)):
                yield from walk(value or {}, f"{key}.")
            else:
                raise unknown_key(key, schema, where)

    yield from walk(content, "")


def _from_yaml(choice: Option, value: Any, where: object) -> Any:
    # YAML reads 001 as 1 and off as false; turned back to text they would be something else.
    if choice.type is str and isinstance(value, (bool, int, float)):
        raise UserError(f"{choice.key}: {value} is not text", where, "put the value in quotes")
    return _at_home(value) if choice.type is str and isinstance(value, str) else value


def _at_home(text: str) -> str:
    # A shell leaves it as it is behind `key=`, and there is none for a YAML file; no other text begins so.
    return os.path.expanduser(text) if text == "~" or text.startswith(("~/", "~\\")) else text


def _read_overrides(overrides: Sequence[str], schema: type, known: dict[str, Option]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise UserError(f"{override!r} has no value", COMMAND_LINE, "write key=value")
        if key not in known:
            raise unknown_key(key, schema, COMMAND_LINE)
        value = _from_text(known[key], text)
        if key in values and values[key] != value:
            raise UserError(f"{key} is given twice, as {values[key]} and {value}", COMMAND_LINE, "give one of them")
        values[key] = value
    return values


def _from_text(choice: Option, text: str) -> Any:
    if choice.optional and text in ("", "null"):
        return None
    if choice.type is str:
        return _at_home(text)
    try:
        if choice.of_text:
            return [literal(item) for item in split_list(text)]
        if choice.is_sequence and not text.startswith("["):
            text = f"[{text}]"
        value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)["value"]
        return keep_item_texts(choice, value, parse_texts(text)) if choice.item_schema else value
    except Exception as error:  # as in _read_yaml
        raise _mistyped(choice, text, COMMAND_LINE) from error


def _assign(config: Any, choice: Option, value: Any, where: object) -> None:
    if choice.item_schema and isinstance(value, list):
        value = [_item(choice, index, item, where) for index, item in enumerate(value)]
    elif type(value) is int and choice.type == str | float:
        value = float(value)  # OmegaConf takes a whole number for a float, but not in a union
    try:
        OmegaConf.update(config, choice.key, value, merge=False)
    except OmegaConfBaseException as error:
        raise _mistyped(choice, value, where) from error


def _item(choice: Option, index: int, content: Any, where: object) -> Any:
    """Return one item of a list of dataclasses, checked like a config of its own."""
    place = f"{choice.key}[{index}], {where}"
    schema = choice.item_schema
    if not isinstance(content, dict):
        raise UserError(f"{content!r} is not {schema.__name__}", place, f"it has {', '.join(options(schema))}")
    known, item = options(schema), structured(schema)
    for key, value in _flatten(content, schema, place):
        _assign(item, known[key], value, place)
        known[key].check(OmegaConf.select(item, key), place)
    if missing := sorted(OmegaConf.missing_keys(item)):
        raise UserError(f"no value for {', '.join(missing)}", place)
    return item


def _mistyped(choice: Option, value: Any, where: object) -> UserError:
    shown = "null" if value is None else value
    return UserError(f"{choice.key}={shown} is not {choice.type_name}", where)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
