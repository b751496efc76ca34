"""Decisions as pure functions of the records: who is promoted, and what the verdict is.

Nothing here reads a file, a clock or a model's opinion. Promotion uses genes A only; verdicts come after the one look.
"""

from collections.abc import Mapping, Sequence

from .ledger.records import LookResult, Promoted, Registered, RunOpened, Tested, VerdictGiven


def promote(plan: RunOpened, registered: Sequence[Registered], tested: Mapping[str, Tested]) -> Promoted:
    """The frozen list for Route H: the best row of each (test, entity) with p_scan ≤ ``promote_p``, at most ``max_promoted``.

    One row a (test, entity) because its refinements would spend alpha on the same question. Order: smallest p_scan,
    then largest statistic, then id. Rows whose matched null is unbalanced stay out.
    """
    best: dict[tuple[str, str, str | None], Registered] = {}
    for h in sorted(registered, key=lambda h: _rank(h.id, tested)):
        if tested[h.id].status == "ok" and tested[h.id].p_scan <= plan.promote_p and not unbalanced(tested[h.id]):
            best.setdefault((h.test, h.spec["annotation_digest"], h.spec["background_digest"]), h)
    chosen = tuple(h.id for h in list(best.values())[: plan.max_promoted])
    rule = f"best row of each (test, entity) with p_scan <= {plan.promote_p:g} on genes A, at most {plan.max_promoted}"
    return Promoted(chosen, rule)


def verdict(
    plan: RunOpened, tested: Tested, promoted: bool, universe: LookResult | None, held_out: LookResult | None
) -> VerdictGiven:
    """The verdict of one row.

    ``confirmed`` where the adjusted p of Route U is at most alpha_u, or that of Route H at most alpha_h. Each route keeps
    its family-wise error at its share, so P(any false confirmation) ≤ alpha_u + alpha_h = alpha.
    """
    if tested.status != "ok":
        return VerdictGiven(tested.id, tested.status, "", tested.reason)
    if unbalanced(tested):
        return VerdictGiven(tested.id, "screened", "", unbalanced(tested))
    by_u = universe is not None and universe.p_adj <= plan.alpha_u
    by_h = held_out is not None and held_out.p_adj <= plan.alpha_h
    if by_u or by_h:
        route = "U+H" if by_u and by_h else "U" if by_u else "H"
        return VerdictGiven(tested.id, "confirmed", route, f"p_adj <= {plan.alpha_u:g} (U) or <= {plan.alpha_h:g} (H)")
    if promoted and held_out is not None:
        route = "H" if universe is None or held_out.p_adj <= universe.p_adj else "U"
        return VerdictGiven(tested.id, "not_confirmed", route, "promoted, and neither route reached its threshold")
    if universe is None:
        return VerdictGiven(
            tested.id, "screened", "", "explored and not promoted; only Route H confirms this test kind"
        )
    return VerdictGiven(tested.id, "screened", "U", "explored, not promoted, and not beyond the universe's maximum")


def unbalanced(tested: Tested) -> str:
    """Why the matched null of a row is no fair comparison, or empty. Such a row is neither promoted nor confirmed."""
    return str(tested.checks.get("unbalanced", ""))


def _rank(id_: str, tested: Mapping[str, Tested]) -> tuple[float, float, str]:
    return tested[id_].p_scan, -tested[id_].statistic, id_
