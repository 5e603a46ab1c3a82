"""Options as dataclasses: the one schema behind YAML files, the command line and `--help`."""

from openlrm.config.command_line import parse_command_line
from openlrm.config.help import describe, format_help
from openlrm.config.loader import load_config, save_config, to_yaml
from openlrm.config.schema import option

__all__ = ["describe", "format_help", "load_config", "option", "parse_command_line", "save_config", "to_yaml"]
