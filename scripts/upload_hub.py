"""Upload a model folder to the Hugging Face hub, after checking that it loads.

    python scripts/upload_hub.py release user/my-lrm --dry-run
    hf auth login
    python scripts/upload_hub.py release user/my-lrm --private

Only config.json, model.safetensors and README.md are sent.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from openlrm.errors import UserError
from openlrm.launch import exit_code
from openlrm.utils.hub import telling

REQUIRED = ("config.json", "model.safetensors")
CARD = "README.md"

_REPO_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_LICENCE_ENTRY = re.compile(r"\A---\n(.*\n)?license:", re.DOTALL)


def check_folder(folder: Path) -> list[Path]:
    """Check that a folder is a complete model that loads strictly.

    Returns:
        The files to send.

    Raises:
        UserError: a file is missing, or the weights do not fit the config.
    """
    for name in REQUIRED:
        if not (folder / name).is_file():
            hint = "python scripts/convert_hf.py to-release makes such a folder"
            raise UserError(f"there is no {name}", folder, hint)
    from openlrm.ops import setup_device

    setup_device("CPU")
    from openlrm.families.reconstructor import load_pretrained

    load_pretrained(str(folder))
    return [folder / name for name in (*REQUIRED, CARD) if (folder / name).is_file()]


def licence_warnings(folder: Path) -> list[str]:
    """What the uploader has to know about the weights' licence, and whether the model card names one."""
    warnings = [
        "weights converted from or fine-tuned on the released OpenLRM ones stay under CC BY-NC 4.0: "
        "name it and their authors in the model card (see LICENSE_WEIGHT)"
    ]
    card = folder / CARD
    if not card.is_file():
        warnings.append(f"there is no {CARD}: the hub will show no model card and no licence")
    elif not _LICENCE_ENTRY.match(card.read_text(encoding="utf-8").split("\n---", 1)[0]):
        warnings.append(f"{CARD} does not begin with a `license:` entry between two lines of `---`")
    return warnings


def upload(folder: Path, repo_id: str, private: bool = False, revision: str | None = None) -> None:
    """Create the hub's repository and the branch if need be, and send the folder's files.

    Args:
        folder: checked by `check_folder`.
        repo_id: `user/name`.
        private: create the repository private; an existing public one is refused.
        revision: branch; None for main.

    Raises:
        UserError: the hub is not reachable or refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    hint = "check the network and HF_ENDPOINT, and 'hf auth login' with a token that may write"
    with telling("the hub is not reachable or refused", repo_id, hint):
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        # What exists already keeps its visibility.
        if private and not api.model_info(repo_id).private:
            raise UserError("the repository exists and is public", repo_id, "leave --private out, or take another name")
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        api.upload_folder(
            repo_id=repo_id,
            folder_path=str(folder),
            revision=revision,
            allow_patterns=[*REQUIRED, CARD],
            commit_message="Upload model",
        )


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with config.json and model.safetensors")
    parser.add_argument("repo_id", help="name on the hub, user/name")
    parser.add_argument("--private", action="store_true", help="create the repository private")
    parser.add_argument("--revision", help="branch to upload to (main)")
    parser.add_argument("--dry-run", action="store_true", help="check the folder and list what would be sent")
    arguments = parser.parse_args(argv)
    if not _REPO_ID.fullmatch(arguments.repo_id):
        raise UserError("not a name on the hub", arguments.repo_id, "write user/name")
    files = check_folder(arguments.folder)
    for warning in licence_warnings(arguments.folder):
        print(f"warning: {warning}", file=sys.stderr)
    for file in files:
        print(f"{file.name}  {file.stat().st_size:,} bytes")
    target = arguments.repo_id + (f" ({arguments.revision})" if arguments.revision else "")
    if arguments.dry_run:
        print(f"nothing was sent to {target}")
        return 0
    upload(arguments.folder, arguments.repo_id, arguments.private, arguments.revision)
    print(f"sent to {target}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
