"""Everything is declared in pyproject.toml; here the demonstration model joins the built package."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DEMO = Path("assets") / "openlrm-tiny-demo"
FILES = ("config.json", "model.safetensors", "README.md")


class BuildWithDemo(build_py):
    """Puts the demonstration model, which is in the repository once, into the wheel as `openlrm/demo/<name>`."""

    def get_source_files(self) -> list[str]:
        """What a source distribution must hold so that it builds."""
        return [*super().get_source_files(), *(str(DEMO / name) for name in FILES)]

    def run(self) -> None:
        """Build, then copy; an editable installation finds the model in the repository."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "openlrm" / "demo" / DEMO.name
        target.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copy(DEMO / name, target / name)


setup(cmdclass={"build_py": BuildWithDemo})
