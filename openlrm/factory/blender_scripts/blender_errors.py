"""The one exception whose message is meant for whoever gave the object."""


class InputError(ValueError):
    """An object, a file or an option that cannot be used; the script shows it in one line and exits with 2."""
