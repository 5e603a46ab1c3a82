"""The Hugging Face hub: what can go wrong on the way there, in one line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from openlrm.errors import UserError


def hub_files(repo_id: str) -> list[str] | None:
    """Return the names of a model's files on the hub; None when it does not answer."""
    from huggingface_hub import HfApi

    try:
        return list(HfApi().list_repo_files(repo_id))
    except Exception:
        return None


@contextlib.contextmanager
def telling(what: str, where: str, hint: str) -> Iterator[None]:
    """Make any failure of the hub's client one line.

    Raises:
        UserError: `what`, with the reason, `where` and `hint`; or the address in HF_ENDPOINT is none.
    """
    endpoint = os.environ.get("HF_ENDPOINT")
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise UserError(
            f"HF_ENDPOINT={endpoint} is no address of a hub", "environment", "write https://... or unset it"
        )
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # The client lets through what its own libraries raise: of HTTP, proxies, certificates, missing packages.
        raise UserError(f"{what} ({first_line(error)})", where, hint) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, shortened; its kind when it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
