"""Which objects the demonstration models are trained on, which they never see: lists made once, before any training.

    python scripts/data/hold_out.py path/to/more/manifest.csv configs/demo_lists

An object is held out by the hash of its name's stem, so that book1 and book2 stay on one side; all of quaternius_2019
is held out. Nearly white objects, which vanish on the white pictures of evaluation, and weapons are left out.
Writes train.txt (a list for `render.objaverse input=`, paths relative to the manifest's folder), held_out.txt,
never_trained_source.txt and left_out.txt.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
import sys
from pathlib import Path

from openlrm.errors import UserError
from openlrm.utils.paths import atomic_path

SOURCE_NEVER_TRAINED = "quaternius_2019"
PERCENT = 5
WHITE, GREY = 0.8, 0.1
"""Mean luminance above the first and saturation (90th percentile) below the second: nearly white."""

_VARIANT = re.compile(r"(_?(level|secondage|firstage)?_?\d+[a-z]?)+$")


def stem_of(uid: str) -> str:
    """The name without the numbers of variants: book1 -> book, houses_firstage_1_level3 -> houses."""
    return _VARIANT.sub("", uid).rstrip("_") or uid


def list_of(row: dict[str, str]) -> str:
    """Which list an object of the manifest is on."""
    uid = Path(row["file"]).stem
    if row["category"] == "weapon":
        return "left_out"
    if float(row["mean_luminance"]) > WHITE and float(row["saturation_p90"]) < GREY:
        return "left_out"
    if Path(row["file"]).parts[0] == SOURCE_NEVER_TRAINED:
        return "never_trained_source"
    digest = hashlib.sha256(stem_of(uid).encode()).digest()
    return "held_out" if int.from_bytes(digest[:4], "big") % 100 < PERCENT else "train"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    try:
        with open(arguments.manifest, encoding="utf-8", newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["file"])
        lists: dict[str, list[str]] = {"train": [], "held_out": [], "never_trained_source": [], "left_out": []}
        for row in rows:
            lists[list_of(row)].append(f"{Path(row['file']).stem}\t{row['file']}\n")
    except (OSError, KeyError, ValueError) as error:
        print(UserError(f"no such manifest ({error})", arguments.manifest), file=sys.stderr)
        return 2
    for name, lines in lists.items():
        with atomic_path(arguments.output / f"{name}.txt") as beside:
            beside.write_text("".join(lines), encoding="utf-8")
        print(f"{name}: {len(lines)} objects of {len({line.split(chr(9))[1].split('/')[0] for line in lines})} sources")
    return 0


if __name__ == "__main__":
    sys.exit(main())
