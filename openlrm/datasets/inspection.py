"""Everything that can be wrong with one rendered object, found by reading all of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np

from openlrm.datasets.cuts import fills_picture, reaches_border, share_cut
from openlrm.datasets.objaverse import ObjaverseObject, read_object
from openlrm.datasets.silhouettes import GOOD, VIEWS, agreement, better_convention, coarse_mask
from openlrm.datasets.storage import Place
from openlrm.errors import UserError

BLANK = 0.001
"""A view with a smaller share of object pixels is blank."""

BLACK = 0.02
"""A view whose object is darker on average is black: Blender without a light or on a device that failed."""

CLIPPED = 0.01
"""A view with a greater share of object pixels along its border cuts the object off.

A close camera may: training copes with that. It is a problem in more than half of the views. Where render.json tells
which box the object lies in, only views count that cut off more than `CUT` of it, or that should not cut anything.
"""

CUT = 0.25
"""Share of a box, by the area in sight, that a picture may cut off: the default cameras take up to 0.16 of a cube."""

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # Rec. 709
_SHOWN = 4


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: in a word, the same for the same sort of problem.
        text: what and where, on one line.
        harmless: worth knowing, but no reason to leave the object out.
    """

    kind: str
    text: str
    harmless: bool = False


@dataclass
class ObjectReport:
    """What was found in an object.

    Attributes:
        uid: its name.
        views: number of views; 0 when it cannot be opened.
        problems: what is wrong with it, harmless things included.
        sides: side in pixels of the views that could be read.
        coverage: share of object pixels, by view that could be read.
        luminance: mean luminance of the object's pixels in [0, 1], by view that shows it.
        distances: camera distance from the origin, by pose that could be read.
        agreement: how well poses fit silhouettes, 0 to 1 (`openlrm.datasets.silhouettes`); None if not known.
    """

    uid: str
    views: int = 0
    problems: list[Problem] = field(default_factory=list)
    sides: set[int] = field(default_factory=set)
    coverage: list[float] = field(default_factory=list)
    luminance: list[float] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)
    agreement: float | None = None

    @property
    def usable(self) -> bool:
        """Whether nothing is wrong but what is harmless."""
        return all(problem.harmless for problem in self.problems)


def inspect_object(root: str | Place, uid: str) -> ObjectReport:
    """Read all of an object and report what is wrong with it; nothing is raised for that.

    Args:
        root: folder of objects, or its address.
        uid: the object.
    """
    report = ObjectReport(uid)
    try:
        source = read_object(root, uid)
    except UserError as error:
        report.problems.append(Problem("object", str(error)))
        return report
    report.views = len(source)
    bounds = _read_record(source, report)
    poses = _read_poses(source, report)
    masks = _read_views(source, report, poses, bounds)
    both = [view for view in poses if view in masks]
    if len(both) >= 3:
        chosen = [both[i * len(both) // VIEWS] for i in range(VIEWS)] if len(both) > VIEWS else both
        compared = np.stack([masks[view] for view in chosen]), np.stack([poses[view] for view in chosen])
        _compare(source, *compared, report)
    return report


def _read_record(source: ObjaverseObject, report: ObjectReport) -> np.ndarray | None:
    """Report lost textures; return the (2, 3) box of the object. Both as far as the Blender script has said so."""
    try:
        with (source.folder / "render.json").open("rb") as file:
            record = json.load(file)
        if "texture" in record["warnings"]:
            report.problems.append(Problem("texture", f"{record['warnings']['texture']}: {source.folder}"))
        bounds = np.array(record["placement"]["bounds"], np.float64)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # data from elsewhere
    return bounds if bounds.shape == (2, 3) and (bounds[0] < bounds[1]).any() and np.isfinite(bounds).all() else None


def _read_poses(source: ObjaverseObject, report: ObjectReport) -> dict[int, np.ndarray]:
    poses, failures, inside = {}, [], []
    for view in range(len(source)):
        try:
            poses[view] = source.read_pose(view)
        except UserError as error:
            failures.append(str(error))
            continue
        report.distances.append(float(np.linalg.norm(poses[view][:, 3])))
        if np.abs(poses[view][:, 3]).max() < 1:
            inside.append(view)
    _note(report, "pose", failures)
    _note_views(report, source, "camera", "camera inside the cube [-1, 1]^3 that holds the object", inside)
    return poses


def _read_views(
    source: ObjaverseObject, report: ObjectReport, poses: dict[int, np.ndarray], bounds: np.ndarray | None
) -> dict[int, np.ndarray]:
    """Return the coarse masks of the views that show something on a transparent background."""
    masks, failures = {}, []
    found: dict[tuple[str, str], list[int]] = {
        ("blank", "nothing to be seen"): [],
        ("opaque", "no transparent background"): [],
        ("clipped", "the object is cut off at the border"): [],
        ("black", "the object is black"): [],
    }
    blank, opaque, clipped, black = found.values()
    meant = []  # views that cut off what is to be expected of their cameras
    for view in range(len(source)):
        try:
            planes = source.read_planes(view)
        except UserError as error:
            failures.append(str(error))
            continue
        shown = planes[3] > 127
        coverage = float(shown.mean())
        report.sides.add(planes.shape[1])
        report.coverage.append(coverage)
        if coverage < BLANK:
            blank.append(view)
            continue
        luminance = float(_LUMINANCE @ planes[:3, shown].mean(axis=1)) / 255
        report.luminance.append(luminance)
        if luminance < BLACK:
            black.append(view)
        border = np.concatenate([shown[0], shown[-1], shown[1:-1, 0], shown[1:-1, -1]])
        camera = (bounds, poses[view], source.intrinsics) if bounds is not None and view in poses else None
        if shown.all() and not (camera and fills_picture(*camera, planes.shape[1])):
            opaque.append(view)
            continue
        if border.mean() > CLIPPED:
            clipped.append(view)
            if camera and reaches_border(*camera, planes.shape[1]) and share_cut(*camera) <= CUT:
                meant.append(view)
        masks[view] = coarse_mask(planes[3])
    _note(report, "picture", failures)
    for (kind, text), views in found.items():
        harmless = views is clipped and 2 * (len(clipped) - len(meant)) <= len(source)
        _note_views(report, source, kind, text, views, harmless)
    if len(report.sides) > 1:
        sides = ", ".join(map(str, sorted(report.sides)))
        report.problems.append(Problem("size", f"views have sides of {sides} pixels: {source.folder}"))
    return masks


def _compare(source: ObjaverseObject, masks: np.ndarray, poses: np.ndarray, report: ObjectReport) -> None:
    report.agreement = agreement(masks, poses, source.intrinsics)
    where = f"(agreement {report.agreement:.2f} of 1): {source.folder / 'pose'}"
    better = better_convention(masks, poses, source.intrinsics, report.agreement)
    if better is not None:
        text = f"poses do not fit the silhouettes {where}. They fit ({better[1]:.2f}) as {better[0]}"
        report.problems.append(Problem("axes", text))
    elif report.agreement < GOOD:
        text = f"poses do not fit the silhouettes {where}. Wrong axes or intrinsics, or an object beyond [-1, 1]^3"
        report.problems.append(Problem("poses", text))


def _note(report: ObjectReport, kind: str, failures: list[str]) -> None:
    """Report the first of several failures of one kind, and how many there are."""
    if failures:
        more = f" (and {len(failures) - 1} more like it)" if len(failures) > 1 else ""
        report.problems.append(Problem(kind, failures[0] + more))


def _note_views(
    report: ObjectReport, source: ObjaverseObject, kind: str, text: str, views: list[int], harmless: bool = False
) -> None:
    if views:
        names = ", ".join(source.names[view] for view in views[:_SHOWN]) + (", ..." if len(views) > _SHOWN else "")
        where = f"{source.folder / 'rgba'} ({names})"
        report.problems.append(Problem(kind, f"{text} in {len(views)} of {len(source)} views: {where}", harmless))
