"""A scripted model that writes statistics: what it sends in which iteration, and what it answers when one broke in rehearsal."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any


def item(code: str, annotation: str, layer: str = "L2", **changes: Any) -> dict[str, Any]:
    """A hypothesis with a statistic of its own."""
    return {
        "test": "custom_statistic", "annotation": annotation, "layers": layer, "coordinates": "all",
        "claim": f"{annotation}: a statistic of mine", "prior": 0.1, "direction": "greater", "rationale": "no test asks this",
        "move": "cover", "parent": None, "bet": "risky", "code": code, "order_invariant": True,
    } | changes  # fmt: skip


def rehearsing(body: Mapping[str, Any]) -> str | None:
    """The code a repair turn is about; ``None`` for any other turn."""
    text = body["messages"][-1]["content"]
    found = re.search(r"The code, as a JSON string:\n\n(\".*\")\n", text)
    return None if found is None else str(json.loads(found[1]))


class Author:
    """Answers as ``sensible`` of the scripted server does, with one place of a batch taken by ``written(iteration)``.

    ``written`` gives items of :func:`item`, or nothing; ``mend`` gives new code for code that broke, or the same again.
    """

    def __init__(
        self,
        server: Any,
        written: Callable[[int], list[dict[str, Any]]],
        mend: Callable[[str], str] = lambda code: code,
    ) -> None:
        self._server = server
        self._written = written
        self._mend = mend
        self.repairs: list[str] = []

    def __call__(self, number: int, body: dict[str, Any]) -> Any:
        broken = rehearsing(body)
        if broken is not None:
            self.repairs.append(body["messages"][-1]["content"])
            return self._server.completion(json.dumps({"code": self._mend(broken)}))
        iteration, count = self._server.asked_for(body)
        mine = self._written(iteration)
        good = json.loads(self._server.sensible(body))["hypotheses"]
        for h in good:
            h["code"], h["order_invariant"] = None, None
        kept = good[: max(0, count - len(mine))]
        return self._server.completion(json.dumps({"hypotheses": [*kept, *mine]}))
