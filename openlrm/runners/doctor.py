"""`doctor`: check that this machine computes what it should."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from openlrm.config import option
from openlrm.runners.base import Runner
from openlrm.utils.paths import check_output

if TYPE_CHECKING:
    from openlrm.doctor import Report
    from openlrm.families.family import Golden


@dataclass
class DoctorConfig:
    """Options of `doctor`."""

    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    device_target: Optional[str] = option(  # noqa: UP045
        None, "Ascend or CPU; Ascend when there is one without it", choices=["Ascend", "CPU"]
    )
    device_id: Optional[int] = option(  # noqa: UP045
        None, "number of the Ascend NPU; the first without it, under msrun one for each worker", minimum=0
    )
    mode: Optional[int] = option(None, "1 PyNative alone, 0 graph alone; both without it", choices=[0, 1])  # noqa: UP045
    acceptance: Optional[str] = option(  # noqa: UP045
        None, "folder for a longer report of what the device does, to attach to a bug report, instead of the checks"
    )
    hub: bool = option(True, "ask whether the Hugging Face hub can be reached")


class Doctor(Runner):
    """Run every check and print a line for each."""

    Config = DoctorConfig
    summary = (
        "Check this machine in under a minute: packages, device, the numbers of every stage of a miniature model, "
        "video and mesh output, the hub. The exit code is 1 when there is a problem."
    )
    examples = (
        "python -m openlrm.launch doctor",
        "python -m openlrm.launch doctor mode=1 hub=false",
        "python -m openlrm.launch doctor --acceptance outputs/acceptance",
    )

    def run(self) -> int:
        """Print the findings; the exit code is 1 when one of them is a problem."""
        from openlrm.doctor import Report, checks, packages

        cfg = self.config
        if cfg.acceptance is not None:
            return self._accept(Path(cfg.acceptance))
        report = Report()
        report.check("python", checks.check_python)
        report.check("system", checks.check_system)
        report.check("memory", checks.check_memory)
        report.check("disk", checks.check_disk)
        report.check("current folder", checks.check_writable)
        report.check("packages", packages.check_dependencies)
        for name in packages.OPTIONAL:
            report.check(f"optional {name}", packages.check_optional, name)
        report.check("ascend", checks.check_ascend)
        report.check("mesh", checks.check_mesh)
        report.check("video", checks.check_codec)
        if cfg.hub:
            report.check("hub", checks.check_hub)
        if report.check("device", checks.check_device, cfg.device_target, cfg.device_id).status != "problem":
            report.check("speed", checks.check_speed)
            self._check_families(report)
        return report.finish()

    def _accept(self, folder: Path) -> int:
        """The longer report; the exit code is 1 when there is a problem in it."""
        from openlrm.doctor.acceptance import Acceptance, facts, sizes_of, write
        from openlrm.ops import setup_device

        check_output(folder / "acceptance.json")
        folder.mkdir(parents=True, exist_ok=True)
        device = setup_device(self.config.device_target, device_id=self.config.device_id)
        entries = Acceptance(device, folder.resolve(), sizes_of(device)).run()
        write(folder, facts(device), entries)
        print(f"wrote {folder}/acceptance.json and acceptance.html")
        return int(any(entry.status == "problem" for entry in entries))

    def _check_families(self, report: Report) -> None:
        from openlrm.doctor.golden import check_files
        from openlrm.families import family_table, find_family

        for name in family_table():
            golden = find_family(name).golden()
            if golden is not None and report.check(f"{name} golden files", check_files, golden).status == "ok":
                self._check_stages(report, name, golden)

    def _check_stages(self, report: Report, name: str, golden: Golden) -> None:
        from openlrm.doctor.golden import check_stage
        from openlrm.ops import setup_device

        for mode in (1, 0) if self.config.mode is None else (self.config.mode,):
            setup_device(self.config.device_target, mode)
            case = golden.open(golden.folder)
            for stage in golden.stages:
                title = f"{name} {stage} ({'graph' if mode == 0 else 'PyNative'})"
                report.check(title, check_stage, golden, case, stage)
