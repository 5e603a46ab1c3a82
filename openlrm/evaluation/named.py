"""Named protocols: options of an evaluation that are fixed, so that figures can be compared with others'.

A protocol is a YAML file: `about`, `options` (of `EvalConfig`), `needs` (options that must be given) and, where it
fixes the objects, `objects_sha256`, the hash that `hash_of` gives of their list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from openlrm.config.schema import nearest
from openlrm.errors import UserError
from openlrm.evaluation.config import EvalConfig
from openlrm.utils.texts import decode

FOLDER = Path(__file__).with_name("protocols")
_KEYS = {"about", "options", "needs", "objects_sha256"}


@dataclass(frozen=True)
class Protocol:
    """What is fixed.

    Attributes:
        name: of the file, without its suffix.
        about: what it is, in a sentence or two.
        options: of `EvalConfig`, by name.
        needs: options that have to be given.
        objects_sha256: see `hash_of`; None where any objects will do.
    """

    name: str
    about: str
    options: dict[str, Any]
    needs: tuple[str, ...] = ()
    objects_sha256: str | None = None

    def apply(self, config: EvalConfig) -> None:
        """Put the fixed options into a config.

        Raises:
            UserError: one that was given contradicts them, or one that is needed was not given.
        """
        defaults = {field.name: field for field in fields(EvalConfig)}
        for key, value in self.options.items():
            given, field = getattr(config, key), defaults[key]
            usual = field.default_factory() if callable(field.default_factory) else field.default
            if given not in (usual, value):
                raise UserError(f"protocol {self.name} fixes {key}={value}, not {given}", hint=f"leave {key} out")
            setattr(config, key, value)
        for key in self.needs:
            if getattr(config, key) is None:
                raise UserError(f"protocol {self.name} needs {key}", hint="--help says what it is")

    def check_objects(self, uids: Sequence[str]) -> None:
        """Check that these are the objects of the protocol.

        Raises:
            UserError: they are not.
        """
        if self.objects_sha256 not in (None, hash_of(uids)):
            what = f"protocol {self.name} is for other objects than these {len(uids)}"
            raise UserError(what, hint=f"their list has the hash {hash_of(uids)}, not {self.objects_sha256}")


def hash_of(uids: Sequence[str]) -> str:
    """Hash of a list of objects in any order: SHA-256 of the sorted names, one a line."""
    return hashlib.sha256("".join(f"{uid}\n" for uid in sorted(uids)).encode()).hexdigest()


def protocol_names() -> list[str]:
    """Names of the protocols that come along."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_protocol(name: str) -> Protocol:
    """Read a protocol.

    Args:
        name: one of `protocol_names`, or a YAML file.

    Raises:
        UserError: there is none of that name, or a file that is no protocol.
    """
    path = Path(name).expanduser() if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        near = nearest(name, protocol_names())
        hint = f"did you mean {near}?" if near else f"use {', '.join(protocol_names())} or a YAML file"
        raise UserError(f"no protocol {name!r}", hint=hint)
    try:
        content = yaml.safe_load(decode(path.read_bytes()))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError("cannot read the protocol", path, " ".join(str(error).split())) from error
    if not isinstance(content, dict) or set(content) - _KEYS or not isinstance(content.get("options"), dict):
        raise UserError("not a protocol", path, f"it has the keys {', '.join(sorted(_KEYS))}, options a mapping")
    known = {field.name for field in fields(EvalConfig)} - {"protocol"}
    needs = tuple(content.get("needs") or ())
    if unknown := [key for key in (*content["options"], *needs) if key not in known]:
        raise UserError(f"unknown option {unknown[0]}", path, "options are those of eval.lrm")
    return Protocol(path.stem, str(content.get("about", "")), content["options"], needs, content.get("objects_sha256"))
