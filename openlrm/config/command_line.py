"""Both published spellings of the command line, `key=value` and `--key value`, as one list of overrides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from openlrm.config.loader import COMMAND_LINE
from openlrm.config.schema import Option, nearest, options, positionals
from openlrm.errors import UserError

_YAML_FLAGS = ("config", "infer")
_BOOLEANS = ("true", "false", "yes", "no", "on", "off", "1", "0")


def parse_command_line(schema: type, argv: Sequence[str]) -> tuple[list[str], list[str], bool]:
    """Sort the arguments after the runner's name.

    A flag is the dotted key, its last part where only one key ends so, or an alias; `-` and `_` are the same
    in it. The flag of a yes-or-no option needs no value. A word by itself is the value of the next positional
    option that has none yet.

    Args:
        schema: dataclass of the options.
        argv: such as `--config a.yaml`, `--infer a.yaml`, `key=value`, `--key value`, `--key=value`, `value`.

    Returns:
        YAML files in order, `key=value` overrides for `load_config`, and whether help was asked for (the
        other arguments are not looked at then).

    Raises:
        UserError: unknown flag, flag without its value, or an argument that is neither.
    """
    if any(argument in ("-h", "--help") for argument in argv):
        return [], [], True
    flags = _flags(schema)
    yaml_files, overrides = [], []
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            overrides.append(_bare(argument, _unnamed(schema, overrides)))
            continue
        name, equals, value = argument.lstrip("-").partition("=")
        name = name.replace("-", "_")
        if name not in flags and name not in _YAML_FLAGS:
            raise _unknown_flag(argument, name, flags)
        choice = flags.get(name)
        if not equals:
            value = _next_value(argument, choice, rest)
        if choice is None:
            yaml_files.append(value)
        else:
            overrides.append(f"{choice.key}={value}")
    return yaml_files, overrides, False


def _flags(schema: type) -> dict[str, Option]:
    """Return every flag without its dashes; full names win over aliases, aliases over last parts."""
    known = options(schema)
    endings = Counter(key.rpartition(".")[2] for key in known)
    flags = {key.rpartition(".")[2]: choice for key, choice in known.items()}
    flags = {name: choice for name, choice in flags.items() if endings[name] == 1}
    for choice in known.values():
        flags |= {name.replace("-", "_"): choice for name in choice.rules.get("alias", ())}
    return {name: choice for name, choice in (flags | known).items() if name not in _YAML_FLAGS}


def _next_value(argument: str, choice: Option | None, rest: list[str]) -> str:
    if choice is not None and choice.type is bool:
        return rest.pop(0) if rest and rest[0].lower() in _BOOLEANS else "true"
    if not rest or rest[0].startswith("--"):
        raise UserError(f"{argument} needs a value", COMMAND_LINE)
    return rest.pop(0)


def _unnamed(schema: type, overrides: list[str]) -> list[str]:
    """Return the keys of the positional options that have no value yet."""
    given = {override.partition("=")[0] for override in overrides}
    return [choice.key for choice in positionals(schema) if choice.key not in given]


def _bare(argument: str, unnamed: list[str]) -> str:
    """Return an argument without dashes as an override; a value goes to the first of the unnamed keys."""
    if "=" in argument:
        return argument
    if unnamed:
        return f"{unnamed[0]}={argument}"
    hint = "write key=value"
    if argument.lower().endswith((".yaml", ".yml")):
        hint = f"did you mean --config {argument}?"
    raise UserError(f"unexpected argument {argument!r}", COMMAND_LINE, hint)


def _unknown_flag(argument: str, name: str, flags: dict[str, Option]) -> UserError:
    near = nearest(name, [*_YAML_FLAGS, *flags])
    hint = f"did you mean --{near}?" if near else "--help lists the options"
    return UserError(f"unknown flag {argument.partition('=')[0]}", COMMAND_LINE, hint)
