"""Render one object in Blender: the script of `openlrm.factory`, at the place where it is looked for.

blender -b -P scripts/data/objaverse/blender_script.py -- --object_path cup.glb --output_dir renders
python scripts/data/objaverse/blender_script.py --object_path cup.glb --output_dir renders
"""

import runpy
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[3] / "openlrm" / "factory" / "blender_scripts" / "blender_script.py"

if __name__ == "__main__":
    runpy.run_path(str(SCRIPT), run_name="__main__")
