"""Decisions as pure functions of the records: when to look and at which level, who is promoted, what the verdict is.

Nothing here reads a file, a clock or a model's opinion. Promotion uses genes A only; verdicts come after the last look.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log2

from ..tests_library.multiplicity import charged_level, transcripts
from .ledger.records import LookCounted, LookResult, Promoted, Registered, RunOpened, Tested, VerdictGiven


@dataclass(frozen=True)
class Look:
    """One opening of the held-out genes: its list, and the level that is left after what earlier looks showed."""

    number: int
    hypotheses: tuple[str, ...]
    alpha: float
    """Before the charge."""
    shown: int
    """How many different things the looks before could have shown; log2 of it is the number of bits shown."""
    last: bool
    """Also opens Route U, and shows everything."""

    @property
    def level(self) -> float:
        """Level of Route H in this look: alpha / 2^bits."""
        return charged_level(self.alpha, self.shown)


NOT_LOOKED_AT = Look(0, (), 0.0, 1, last=False)
"""For a row that is in no list of a run with several looks: only Route U can confirm it."""


def looks(plan: RunOpened, lists: Sequence[Promoted]) -> tuple[Look, ...]:
    """The looks whose lists are frozen. A level depends on the lengths of earlier lists: on genes A, never on a count."""
    alphas = plan.look_alphas or (plan.alpha_h,)
    sizes = [len(p.hypotheses) for p in lists]
    return tuple(
        Look(n, p.hypotheses, alphas[n - 1], transcripts(sizes[: n - 1]), n == len(alphas))
        for n, p in enumerate(lists, 1)
    )


def look_before(plan: RunOpened, iteration: int) -> int | None:
    """The look that is due before ``iteration``: the iterations are cut into as many equal parts as there are looks."""
    ends = [plan.iterations * n // plan.looks for n in range(1, plan.looks)]
    return ends.index(iteration - 1) + 1 if iteration - 1 in ends else None


def impossible_looks(plan: RunOpened) -> str:
    """Why the declared looks can do nothing, with the mend, or empty. Asked before the run opens."""
    if plan.looks > plan.iterations:
        return f"looks = {plan.looks} needs as many iterations, and iterations = {plan.iterations}; lower looks"
    alphas = plan.look_alphas or (plan.alpha_h,)
    for earlier, alpha in enumerate(alphas[1:], 1):
        shown = transcripts([plan.max_promoted] * earlier)
        level = charged_level(alpha, shown)
        if 1 / (plan.permutations_look + 1) > level:
            draws = ceil(1 / level)
            return (
                f"with looks = {plan.looks} and max_promoted = {plan.max_promoted} the level of look {earlier + 1} may fall to "
                f"{level:.3g} ({alpha:.3g} charged for {log2(shown):.1f} bits), and permutations_look = "
                f"{plan.permutations_look} give p = {1 / (plan.permutations_look + 1):.3g} at best; raise permutations_look to "
                f"{draws if 1 / draws > level else draws - 1} or more, or lower looks or max_promoted"
            )
    return ""


def count(look: Look, results: Sequence[LookResult]) -> LookCounted:
    """What a look before the last shows."""
    return LookCounted(
        look.number, len(look.hypotheses), sum(reached(look, r) for r in results), log2(len(look.hypotheses) + 1)
    )


def reached(look: Look, result: LookResult) -> bool:
    """Whether a row of ``look`` is confirmed by Route H."""
    return (result.route, result.look) == ("H", look.number) and result.p_adj <= look.level


def promote(
    plan: RunOpened,
    registered: Sequence[Registered],
    tested: Mapping[str, Tested],
    looked_at: Collection[str] = (),
) -> Promoted:
    """The frozen list for Route H: the best row of each (test, entity) with p_scan ≤ ``promote_p``, at most ``max_promoted``.

    One row a (test, entity) because its refinements would spend alpha on the same question; so what an earlier look asked
    (``looked_at``, row ids) is not asked again. Order: smallest p_scan, then largest statistic, then id. Rows whose
    matched null is unbalanced stay out.
    """
    asked = {_question(h) for h in registered if h.id in looked_at}
    best: dict[tuple[str, str, str | None], Registered] = {}
    for h in sorted(registered, key=lambda h: _rank(h.id, tested)):
        fit = tested[h.id].status == "ok" and tested[h.id].p_scan <= plan.promote_p and not unbalanced(tested[h.id])
        if fit and _question(h) not in asked:
            best.setdefault(_question(h), h)
    chosen = tuple(h.id for h in list(best.values())[: plan.max_promoted])
    rule = f"best row of each (test, entity) with p_scan <= {plan.promote_p:g} on genes A, at most {plan.max_promoted}"
    return Promoted(chosen, rule)


def verdict(
    plan: RunOpened,
    tested: Tested,
    promoted: bool,
    universe: LookResult | None,
    held_out: LookResult | None,
    look: Look | None = None,
) -> VerdictGiven:
    """The verdict of one row; ``look`` is the one that held it, where a run has more than one.

    ``confirmed`` where the adjusted p of Route U is at most alpha_u, or that of Route H at most the level of its look. Each
    route keeps its family-wise error at its share, so P(any false confirmation) ≤ alpha_u + alpha_h = alpha.
    """
    level = plan.alpha_h if look is None else look.level
    if tested.status != "ok" or unbalanced(tested):
        status, reason = (tested.status, tested.reason) if tested.status != "ok" else ("screened", unbalanced(tested))
        return VerdictGiven(tested.id, status, "", reason)
    by_u = universe is not None and universe.p_adj <= plan.alpha_u
    by_h = held_out is not None and held_out.p_adj <= level
    if by_u or by_h:
        route = "U+H" if by_u and by_h else "U" if by_u else "H"
        return VerdictGiven(
            tested.id, "confirmed", route, f"p_adj <= {plan.alpha_u:g} (U){_or_held_out(level, look)}{_charge(look)}"
        )
    if held_out is not None and held_out.status == "untestable" and universe is None and look is not None:
        return VerdictGiven(tested.id, "untestable", "H", f"{held_out.reason}{_charge(look)}")
    if promoted and held_out is not None:
        route = "H" if universe is None or held_out.p_adj <= universe.p_adj else "U"
        return VerdictGiven(
            tested.id, "not_confirmed", route, f"promoted, and neither route reached its threshold{_charge(look)}"
        )
    if universe is None:
        return VerdictGiven(
            tested.id, "screened", "", "explored and not promoted; only Route H confirms this test kind"
        )
    return VerdictGiven(tested.id, "screened", "U", "explored, not promoted, and not beyond the universe's maximum")


def verdicts(
    plan: RunOpened,
    registered: Sequence[Registered],
    tested: Mapping[str, Tested],
    looks: Sequence[Look],
    results: Sequence[LookResult],
) -> list[VerdictGiven]:
    """The verdict of every row, in order of registration, from the results of all looks."""
    found = {(r.route, r.id): r for r in results}
    held = {id_: look for look in looks for id_ in look.hypotheses}
    return [
        verdict(
            plan, tested[h.id], h.id in held, found.get(("U", h.id)), found.get(("H", h.id)),
            held.get(h.id, NOT_LOOKED_AT) if plan.looks > 1 else None,
        )
        for h in registered
    ]  # fmt: skip


def unbalanced(tested: Tested) -> str:
    """Why the matched null of a row is no fair comparison, or empty. Such a row is neither promoted nor confirmed."""
    return str(tested.checks.get("unbalanced", ""))


def _or_held_out(level: float, look: Look | None) -> str:
    return "" if look is NOT_LOOKED_AT else f" or <= {level:g} (H)"


def _charge(look: Look | None) -> str:
    """Which look decided and how its level came about; empty where a run has one look."""
    if look is None or look is NOT_LOOKED_AT:
        return ""
    if look.shown == 1:
        return f"; look {look.number}, before which nothing was shown"
    return (
        f"; look {look.number}, level {look.level:.3g} = {look.alpha:.3g} charged for {log2(look.shown):.2f} bits shown"
    )


def _question(h: Registered) -> tuple[str, str, str | None]:
    return h.test, h.spec["annotation_digest"], h.spec["background_digest"]


def _rank(id_: str, tested: Mapping[str, Tested]) -> tuple[float, float, str]:
    return tested[id_].p_scan, -tested[id_].statistic, id_
