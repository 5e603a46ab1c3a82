"""Claims of a public study of openlrm-mix-base-1.1, and what a diagnosis says of each, by fixed rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openlrm.analysis.paired import estimate

HOLDS, FAILS, OPEN, MISSING = "holds", "does not hold", "not decided", "not measured"
STUDIED = "openlrm-mix-base"
"""Part of the name of the model that the claims are about: on any other they are not decided, whatever is found."""

Results = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Experiment -> uid -> contents of its JSON."""


@dataclass(frozen=True)
class Check:
    """One condition of a rule.

    Attributes:
        name: what is measured.
        values: one a object, or a seed.
        limit: it is to be above, or below.
        above: which.
    """

    name: str
    values: Sequence[float]
    limit: float
    above: bool = True

    @property
    def verdict(self) -> str:
        """By the 95 % interval of the mean: it must lie on one side of the limit."""
        values = [value for value in self.values if value is not None]
        if not values:
            return MISSING
        found = estimate(values)
        if math.isnan(found.low) or found.low <= self.limit <= found.high:
            return OPEN
        return HOLDS if (found.mean > self.limit) == self.above else FAILS

    def __str__(self) -> str:
        """Mean, interval and number."""
        values = [value for value in self.values if value is not None]
        if not values:
            return f"{self.name}: -"
        found = estimate(values)
        reach = f" ({found.low:.3g} .. {found.high:.3g})" if found.count > 1 else ""
        return (
            f"{self.name} {found.mean:.3g}{reach}, n = {found.count}, limit {'>' if self.above else '<'} {self.limit:g}"
        )


@dataclass(frozen=True)
class Finding:
    """A row of the table.

    Attributes:
        number: of the rule.
        claim: of the study.
        study: its number.
        checks: what was measured of it.
        note: what has to be known beside it.
        told: verdict where it does not come from the checks.
    """

    number: int
    claim: str
    study: str
    checks: Sequence[Check] = ()
    note: str = ""
    told: str | None = None

    @property
    def verdict(self) -> str:
        """All conditions hold; or one does not; or it cannot be said."""
        if self.told is not None:
            return self.told
        verdicts = [check.verdict for check in self.checks]
        if not verdicts or MISSING in verdicts:
            return MISSING
        return FAILS if FAILS in verdicts else OPEN if OPEN in verdicts else HOLDS


def findings(results: Results, tuned: Sequence[Mapping[str, Any]] = ()) -> list[Finding]:
    """The twelve claims about a model, under one kind of source camera.

    Args:
        results: of the experiments.
        tuned: contents of results.json of `finetune.*`.
    """

    def of(experiment: str, read: Callable[[Mapping[str, Any]], Any]) -> list[Any]:
        found = []
        for entry in results.get(experiment, {}).values():
            try:
                found.append(read(entry["figures"]))
            except (KeyError, IndexError, TypeError):
                continue
        return found

    def basin(pair: str) -> list[float]:
        return of("oracle", lambda f: f["basins"][pair]["correlation"])

    def corrected(key: str) -> list[float]:
        return of("correction", lambda f: f["consistent"][key])

    bands = [
        Check(name, of("oracle", lambda f, k=k: f["coherence"]["bands"][k]), 0.8)
        for k, name in enumerate(("low", "middle", "high", "corners"))
    ]
    variants = sorted({name for f in of("refine", dict) for name in f if name != "prediction"})
    refined = []
    for name in variants:
        worse = of("refine", lambda f, n=name: f[n]["held_out"]["ssim"] - f["prediction"]["held_out"]["ssim"])
        better = of("refine", lambda f, n=name: f[n]["fitted"]["l1"] - f["prediction"]["fitted"]["l1"])
        refined += [Check(f"{name}: SSIM change held out", worse, 0, above=False)]
        refined += [Check(f"{name}: L1 change fitted", better, 0, above=False)]
    return [
        Finding(
            1,
            "planes fitted from noise and predicted planes are unrelated",
            "r = -.005 from noise, .840 from the prediction (stone)",
            [
                Check("r(pred, noise)", basin("pred,rand"), 0.2, above=False),
                Check("r(pred, from pred)", basin("pred,predinit"), 0.5),
            ],
        ),
        Finding(
            2,
            "the residual is high-frequency",
            "47-52 % high; white noise has 65.8 %",
            [
                Check("power share f >= .4", of("spectrum", lambda f: sum(f["consistent"]["share"][2:])), 0.5),
                Check("magnitude share", of("spectrum", lambda f: sum(f["consistent"]["share_magnitude"][2:])), 0.5),
                Check("density of high", of("spectrum", lambda f: f["consistent"]["density"][2]), 1.0),
            ],
        ),
        Finding(
            3,
            "the decoder is low-pass",
            "2.4 times, at the random-start planes",
            [Check("H2 first / last", of("transfer", lambda f: f["consistent"]["first_over_last"]), 2.0)],
        ),
        Finding(
            4,
            "low frequencies make the render error",
            "low +76.9 / +53.1 %, high +1.3 / +7.2 % at .3",
            [
                Check(
                    "imp_low - 5 imp_high",
                    of(
                        "correction",
                        lambda f: f["consistent"]["improvement_low"] - 5 * f["consistent"]["improvement_high"],
                    ),
                    0.0,
                ),
                Check("gain ratio", corrected("gain_ratio"), 2.0),
            ],
        ),
        Finding(
            5,
            "it is structure, not a colour offset",
            "DC +7.7 / +2.4 %, structured +54.9 / +26.6 %",
            [
                Check(
                    "imp_structured - 2 imp_DC",
                    of("decomposition", lambda f: f["improvement"]["structured"] - 2 * f["improvement"]["dc"]),
                    0.0,
                )
            ],
        ),
        Finding(
            6,
            "it is not occlusion",
            "hidden / visible 1.16, with picture rows upside down",
            [
                Check(
                    "hidden / visible on the shell",
                    of("visibility", lambda f: f["consistent"]["ratio"]),
                    1.3,
                    above=False,
                )
            ],
        ),
        Finding(7, "the reference can be trusted, band by band", "not looked at", bands),
        Finding(
            8,
            "few directions of the planes matter",
            "spread .7 % was read as many null directions; it says the opposite",
            [
                Check(
                    "participation share, spread",
                    of("nullspace", lambda f: f["participation"]["spread_share"]),
                    0.01,
                    above=False,
                ),
                Check(
                    "participation share, probes",
                    of("nullspace", lambda f: f["participation"]["hutchinson_share"]),
                    0.01,
                    above=False,
                ),
            ],
        ),
        Finding(
            9,
            "test-time optimisation fails on views it does not see",
            "L1 -36 to -64 % with artefacts, by eye",
            refined,
            "LPIPS was not measured: SSIM alone",
        ),
        _freq_beats_std(tuned),
        _best_rank(tuned),
        _degraded(tuned),
    ]


def _freq_beats_std(tuned: Sequence[Mapping[str, Any]]) -> Finding:
    claim, study = "the frequency loss beats plain MSE", "LPIPS .1428 against .1549, one seed"
    pairs = [pair["l1"] for run in tuned for pair in run.get("paired", {}).values()]
    if not pairs:
        note = "one seed of each loss cannot decide it" if tuned else "no run of finetune.ranks was given"
        return Finding(10, claim, study, told=OPEN if tuned else MISSING, note=note)
    wins, losses = (sum(pair[key] for pair in pairs) for key in ("wins", "losses"))
    ties = sum(pair["ties"] for pair in pairs)
    told = HOLDS if wins and not losses + ties else FAILS if losses and not wins else OPEN
    if wins + losses + ties < 3:
        told = OPEN
    return Finding(10, claim, study, told=told, note=f"L1, seed by seed: {wins} better, {losses} worse, {ties} equal")


def _best_rank(tuned: Sequence[Mapping[str, Any]]) -> Finding:
    claim, study = "rank 4 is best", "LPIPS .1428 (r 4) and .1432 (r 8), one seed"
    runs = [run["best_rank"] for run in tuned if "best_rank" in run]
    if not runs:
        return Finding(11, claim, study, told=MISSING, note="no run of finetune.ranks was given")
    best = runs[-1]
    told = OPEN if best["rank"] is None else HOLDS if best["rank"] == 4 else FAILS
    return Finding(11, claim, study, told=told, note=best["verdict"])


def _degraded(tuned: Sequence[Mapping[str, Any]]) -> Finding:
    claim, study = "adapters make no object worse, full tuning does", "no figures by object were published for adapters"
    found = {name: arm["degraded"] for run in tuned for name, arm in run.items() if _is_arm(name, arm)}
    lora = [worse for name, worse in found.items() if name.startswith("lora")]
    full = [worse for name, worse in found.items() if name.startswith("full")]
    note = "; ".join(f"{name}: {', '.join(worse) or 'none'}" for name, worse in found.items())
    if not lora or not full:
        return Finding(
            12, claim, study, told=MISSING, note=note or "no runs of finetune.lora and finetune.full were given"
        )
    return Finding(12, claim, study, told=HOLDS if not any(lora) and any(full) else FAILS, note=note)


def _is_arm(name: str, value: Any) -> bool:
    return name.startswith(("lora_", "full_")) and isinstance(value, Mapping) and "degraded" in value
