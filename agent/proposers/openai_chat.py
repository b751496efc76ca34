"""A language model as proposer, over any OpenAI-compatible server.

    prompt → attempts, with retries → read → one repair turn → what is still missing comes from the offline proposer

Every attempt is recorded before anything is made of it. The model sees the text of the digest and nothing else; of its answer
only fields that were compared with the offers become proposals, and the loop checks those again. What is filled by the offline
proposer says so in its row. Given the same answers, a run is the same, bit for bit: waiting, retries and clocks are context.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...hypotheses.canonical import canonical_json, sha256_of, sha256_text
from ...hypotheses.spec import Proposal
from ...prompts import PromptError, Prompts
from ..digest import Digest
from ..digest_text import digest_text
from ..errors import Exit, UserError
from ..ledger.records import Completion
from ..spending import Budget
from .answers import Reading, read, schema, sentence
from .attempts import RETRIED, Reply, Sender
from .base import Said
from .completions import Completions
from .ladder import Rung, response_format, rung_of
from .offline import OfflineProposer

MAX_ATTEMPTS = 5
"""Attempts of one turn at a server that is silent, busy or broken."""
BASE_SECONDS, CAP_SECONDS = 1.0, 60.0
"""First wait between attempts, and the longest, ``retry-after`` included."""
SILENT_ITERATIONS = 3
"""After so many iterations in a row without any answer the run stops: it would no longer be the model's."""
_pause = time.sleep
_KEPT = 8000
"""Characters of an answer that are shown to the model again."""
_READ = frozenset({"ok", "invalid_json", "invalid_schema"})
_MENDED = frozenset({"invalid_json", "invalid_schema", "truncated"})


@dataclass(frozen=True)
class Settings:
    """What a run freezes of its model."""

    model: str
    answer_tokens: int
    digest_tokens: int


@dataclass(frozen=True)
class Turn:
    """What one request came to."""

    outcome: str
    reading: Reading
    text: str
    source: dict[str, Any]
    """Of the rows read from it."""


class OpenAIProposer:
    """See the module docstring. ``sender`` is ``None`` where every answer is recorded."""

    name = "openai"
    reads_notes = True

    def __init__(
        self,
        settings: Settings,
        prompts: Prompts,
        store: Completions,
        seed: int,
        budget: Budget,
        sender: Sender | None,
    ) -> None:
        self._settings = settings
        self._prompts = prompts
        self._store = store
        self._seed = seed
        self._budget = budget
        self._sender = sender
        self._silent = 0
        self._rung = Rung()
        self._sent: Counter[str] = Counter()

    def propose(self, digest: Digest, count: int) -> Sequence[Said]:
        """See :class:`~.base.Proposer`."""
        if not digest.offers:
            return []
        self._recall(digest.iteration)
        messages = self._messages(digest, count)
        turn = self._ask(digest, count, "propose", messages, None)
        said = [Said(p, self.name, turn.source) for p in turn.reading.good]
        if turn.outcome in _MENDED:
            first, turn = turn, self._ask(digest, count, "repair", self._mending(messages, turn, count), turn)
            said = _together(turn, first, count, self.name)
        self._listen(turn)
        return [*said, *self._filled(digest, count, said, turn)]

    def _recall(self, iteration: int) -> None:
        """The state at the start of ``iteration``, from the record: the same in a run that was never interrupted."""
        earlier = self._store.before(iteration)
        self._sent = Counter(c.request_sha256 for c in earlier if c.outcome != "denied")
        self._rung = rung_of(self._server(iteration), earlier)

    def _server(self, iteration: int) -> str:
        return self._store.server(iteration) if self._sender is None else self._sender.server

    def _messages(self, digest: Digest, count: int) -> list[dict[str, str]]:
        text = digest_text(digest, count, self._settings.digest_tokens)
        user = self._render(
            "propose", iteration=digest.iteration, iterations=digest.iterations, count=count, digest=text
        )
        return [{"role": "system", "content": self._render("system")}, {"role": "user", "content": user}]

    def _mending(self, messages: list[dict[str, str]], turn: Turn, count: int) -> list[dict[str, str]]:
        """The conversation with the answer and what is wrong with it."""
        errors = turn.reading.errors or ("the answer was cut off because it was too long; answer more briefly",)
        asked = {"role": "user", "content": self._render("repair", errors=errors, count=count)}
        return [*messages, {"role": "assistant", "content": turn.text[:_KEPT] or "…"}, asked]

    def _render(self, name: str, **values: Any) -> str:
        try:
            return self._prompts.render(name, **values)
        except PromptError as error:
            raise UserError(str(error)) from None

    def _ask(self, digest: Digest, count: int, turn: str, messages: list[dict[str, str]], mends: Turn | None) -> Turn:
        """One turn: attempts until there is an answer, the retries are used up, or the run has to stop."""
        attempt = failures = 0
        while True:
            attempt += 1
            rung = self._rung
            request = self._request(digest, messages, rung)
            body = canonical_json(request)
            sha256 = sha256_text(body)
            done = self._store.find(sha256, self._sent[sha256])
            live = done is None
            if done is None:
                parent = None if mends is None else mends.source["request_sha256"]
                done = self._send(digest, count, (turn, attempt, parent), request, body, rung)
            if done.outcome == "denied":
                raise _denial(done, self._settings.model)
            self._sent[sha256] += 1
            self._rung = rung.after(done.outcome, done.detail)
            if done.outcome == "unsupported":
                continue  # the rung has changed, and the ladder ends
            failures += done.outcome in RETRIED
            if done.outcome in RETRIED and failures < MAX_ATTEMPTS:
                if live:
                    self._wait(digest.iteration, turn, attempt)
                continue
            return self._turn(done, digest, count)

    def _request(self, digest: Digest, messages: list[dict[str, str]], rung: Rung) -> dict[str, Any]:
        return {
            "model": self._settings.model,
            "messages": messages,
            rung.limit: self._settings.answer_tokens,
            **response_format(rung.form, schema(digest)),
        }

    def _send(
        self,
        digest: Digest,
        count: int,
        place: tuple[str, int, str | None],
        request: dict[str, Any],
        body: str,
        rung: Rung,
    ) -> Completion:
        """One attempt on the wire, recorded."""
        sha256 = sha256_text(body)
        turn, attempt, parent = place
        if self._sender is None:
            raise UserError(
                f"the recording holds no answer to request {sha256} (iteration {digest.iteration}, {turn}, attempt {attempt}); "
                "it was made with other inputs, settings, prompts or another version of hyposcreen, or it ended here"
            )
        self._budget.check(self._store.spent(), body, self._settings.answer_tokens)
        reply = self._sender.send(request)
        self._retry_after = reply.retry_after
        outcome, detail = _judged(reply, digest, count, rung)
        tokens, usd = self._budget.charge(body, reply)
        occurrence = self._sent[sha256]
        completion = Completion(
            iteration=digest.iteration, turn=turn, attempt=attempt, request_sha256=sha256, occurrence=occurrence,
            request="" if occurrence else body, rung=rung.form, outcome=outcome, detail=detail, status=reply.status,
            response=reply.text, model=reply.model, fingerprint=reply.fingerprint, request_id=reply.request_id,
            finish_reason=reply.finish_reason, tokens_prompt=reply.tokens_prompt,
            tokens_completion=reply.tokens_completion, tokens_cached=reply.tokens_cached,
            tokens_reasoning=reply.tokens_reasoning, charged_tokens=tokens, charged_usd=usd, seconds=reply.seconds,
            parent=parent, server=self._sender.server,
        )  # fmt: skip
        self._store.add(completion)
        return completion

    _retry_after: float | None = None

    def _wait(self, iteration: int, turn: str, attempt: int) -> None:
        """Exponential backoff with jitter from the run's seed; what the server asks for counts, up to the cap."""
        word = hashlib.sha256(f"{self._seed}|{iteration}|{turn}|{attempt}".encode()).digest()
        share = int.from_bytes(word[:4], "little") / 2**32
        pause = BASE_SECONDS * 2 ** (attempt - 1) * (0.5 + 0.5 * share)
        _pause(min(CAP_SECONDS, max(pause, self._retry_after or 0.0)))

    def _turn(self, done: Completion, digest: Digest, count: int) -> Turn:
        text = done.response or ""
        reading = read(text, digest, count) if done.outcome in _READ else Reading((), (), False)
        source = {
            "model": done.model or self._settings.model,
            "prompts": sha256_of(self._prompts.digests),
            "request_sha256": done.request_sha256,
            "response_sha256": sha256_text(text) if done.response is not None else "",
        }
        return Turn(done.outcome, reading, text, source)

    def _listen(self, turn: Turn) -> None:
        """Stop a run whose model has not been heard for a while."""
        self._silent = self._silent + 1 if turn.outcome in RETRIED else 0
        if self._silent >= SILENT_ITERATIONS and self._sender is not None:
            raise UserError(
                f"{self._sender.server} has given no answer in {self._silent} iterations ({turn.outcome}); every earlier row is "
                f"recorded. Look at the server, then go on with: {self._budget.resume}",
                Exit.FAILURE,
            )

    def _filled(self, digest: Digest, count: int, said: Sequence[Said], turn: Turn) -> list[Said]:
        """Proposals of the offline proposer for the slots the model left empty."""
        missing = count - len(said)
        if missing <= 0:
            return []
        taken = {sentence(s.proposal) for s in said if isinstance(s.proposal, Proposal)}
        offline = OfflineProposer(self._seed)
        fresh = [p for p in offline.propose(digest, count + len(taken)) if sentence(p) not in taken]
        source = turn.source | {"filled_for": self.name, "reason": turn.outcome}
        return [Said(p, offline.name, source) for p in fresh[:missing]]


def _judged(reply: Reply, digest: Digest, count: int, rung: Rung) -> tuple[str, str]:
    """Outcome and detail of a reply, once its text was read."""
    if reply.kind == "ok":
        reading = read(reply.text or "", digest, count)
        if not reading.is_json:
            return "invalid_json", reading.errors[0]
        return ("invalid_schema", "; ".join(reading.errors)[:2000]) if reading.errors else ("ok", "")
    if reply.kind == "unsupported" and rung.below(reply.detail) is None:
        return "denied", reply.detail
    return reply.kind, reply.detail


def _together(mended: Turn, first: Turn, count: int, name: str) -> list[Said]:
    """What is good in the mended answer, then what was good in the first and is not in the mended one."""
    out: dict[tuple[str, str, str, str], Said] = {}
    for turn in (mended, first):
        for p in turn.reading.good:
            out.setdefault(sentence(p), Said(p, name, turn.source))
    return list(out.values())[:count]


def _denial(done: Completion, model: str) -> UserError:
    return UserError(
        f"{done.server} does not take the request for model '{model}' ({done.detail}); look at the model's name, the address and "
        "the key in the environment, then run again: every earlier row is recorded",
        Exit.FAILURE,
    )
