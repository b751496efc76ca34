"""A language model as proposer, over any OpenAI-compatible server.

    prompt → attempts, with retries → read → one repair turn → what is still missing comes from the offline proposer → remarks

Every attempt is recorded before anything is made of it. The model sees the text of the digest and nothing else; of its answer
only fields that were compared with the offers become proposals, and the loop checks those again. What the rules of a batch refuse
is recorded with its reason. What the offline proposer fills says so in its row. A critic, where one is asked, only remarks.
Given the same answers, a run is the same, bit for bit: waiting, retries and clocks are context.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...hypotheses.canonical import canonical_json, sha256_of, sha256_text
from ...hypotheses.spec import Proposal
from ...prompts import PromptError, Prompts
from ..custom.proposal import CodeProposal
from ..custom.reading import shelf
from ..custom.rehearsal import Rehearser
from ..digest import Digest
from ..errors import Exit, UserError
from ..ledger.records import Completion
from ..proposers.base import Said
from ..proposers.offline import OfflineProposer
from . import critic, repair
from .answers import Reading, read, refused_as, schema
from .attempts import RETRIED, Reply, Sender, bounded
from .completions import Completions
from .digest_text import digest_text
from .filling import fill
from .ladder import Rung, response_format, rung_of
from .portfolio import Candidate, Rules
from .repair import rehearsed
from .spending import Budget

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
    critic: str = ""
    """The model that remarks on proposals; empty: none."""


@dataclass(frozen=True, eq=False)
class Question:
    """What a turn asks, and how its answer is judged."""

    turn: str
    """``propose``, ``repair``, ``critic`` or ``rehearsal``."""
    iteration: int
    model: str
    messages: list[dict[str, str]]
    schema: dict[str, Any]
    name: str
    """Of the schema."""
    judge: Callable[[str], tuple[str, str]]
    """Text → outcome and detail."""
    parent: str | None = None
    """Of a repair: the request that it mends."""

    @property
    def criticises(self) -> bool:
        """Whether it is the critic that is asked."""
        return self.turn == "critic"


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
        rehearser: Rehearser | None = None,
    ) -> None:
        self._settings = settings
        self._prompts = prompts
        self._store = store
        self._seed = seed
        self._budget = budget
        self._sender = sender
        self._rehearser = rehearser
        """Of a run that takes statistics of the model's own."""
        self._silent = 0
        self._rungs = {False: Rung(), True: Rung()}
        """Of the model that proposes, and of the critic."""
        self._sent: Counter[str] = Counter()

    def propose(self, digest: Digest, count: int) -> Sequence[Said]:
        """See :class:`~..proposers.base.Proposer`."""
        if not digest.offers:
            return []
        self._recall(digest.iteration)
        rules = Rules(digest, None if self._rehearser is None else shelf(digest))
        messages = self._messages(digest, count)
        turn = self._propose(rules, count, "propose", messages, None)
        turns = [turn]
        if turn.outcome in _MENDED:
            turns.insert(0, self._propose(rules, count, "repair", self._mending(messages, turn, count), turn))
        self._listen(turns[0])
        said, refused = self._together(turns, rules, count)
        said, broken = self._rehearsed(digest.iteration, said)
        refused += broken
        said += self._filled(rules, count, said, turns[0])
        return [*refused, *(self._criticised(digest, count, said) if self._settings.critic else said)]

    def _recall(self, iteration: int) -> None:
        """The state at the start of ``iteration``, from the record: the same in a run that was never interrupted."""
        earlier = self._store.before(iteration)
        self._sent = Counter(c.request_sha256 for c in earlier if c.outcome != "denied")
        server = self._server(iteration)
        self._rungs = {critic: rung_of(server, earlier, critic) for critic in (False, True)}

    def _server(self, iteration: int) -> str:
        return self._store.server(iteration) if self._sender is None else self._sender.server

    def _messages(self, digest: Digest, count: int) -> list[dict[str, str]]:
        text = digest_text(digest, count, self._settings.digest_tokens)
        user = self._render(
            "propose", iteration=digest.iteration, iterations=digest.iterations, count=count, digest=text
        )
        system = self._render("system") + (self._render("statistic") if self._rehearser is not None else "")
        return [{"role": "system", "content": system}, {"role": "user", "content": user}]

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

    def _propose(self, rules: Rules, count: int, turn: str, messages: list[dict[str, str]], mends: Turn | None) -> Turn:
        parent = None if mends is None else mends.source["request_sha256"]
        o = self._settings
        done = self._ask(
            Question(
                turn, rules.digest.iteration, o.model, messages, schema(rules.digest, rules.code is not None),
                "hypotheses",
                lambda text: _judged(text, rules, count), parent,
            )
        )  # fmt: skip
        text = done.response or ""
        reading = read(text, rules, count) if done.outcome in _READ else Reading((), (), (), False)
        return Turn(done.outcome, reading, text, self._source(done, o.model))

    def _ask(self, q: Question) -> Completion:
        """One turn: attempts until there is an answer, the retries are used up, or the run has to stop."""
        attempt = failures = 0
        while True:
            attempt += 1
            rung = self._rungs[q.criticises]
            request = self._request(q, rung)
            body = canonical_json(request)
            sha256 = sha256_text(body)
            done = self._store.find(sha256, self._sent[sha256])
            live = done is None
            if done is None:
                done = self._send(q, attempt, request, body, rung)
            if done.outcome == "denied":
                raise _denial(done, q.model)
            self._sent[sha256] += 1
            self._rungs[q.criticises] = rung.after(done.outcome, done.detail)
            if done.outcome == "unsupported":
                continue  # the rung has changed, and the ladder ends
            failures += done.outcome in RETRIED
            if done.outcome in RETRIED and failures < MAX_ATTEMPTS:
                if live:
                    self._wait(q.iteration, q.turn, attempt)
                continue
            return done

    def _request(self, q: Question, rung: Rung) -> dict[str, Any]:
        return {
            "model": q.model,
            "messages": q.messages,
            rung.limit: self._settings.answer_tokens,
            **response_format(rung.form, q.schema, q.name),
        }

    def _send(self, q: Question, attempt: int, request: dict[str, Any], body: str, rung: Rung) -> Completion:
        """One attempt on the wire, recorded."""
        sha256 = sha256_text(body)
        if self._sender is None:
            raise UserError(
                f"the recording holds no answer to request {sha256} (iteration {q.iteration}, {q.turn}, attempt {attempt}); "
                "it was made with other inputs, settings, prompts or another version of hyposcreen, or it ended here"
            )
        self._budget.check(self._store.spent(), q.model, body, self._settings.answer_tokens)
        sent = self._sender.send(request)
        self._retry_after = sent.retry_after
        reply = bounded(sent, self._settings.answer_tokens)
        outcome, detail = q.judge(reply.text or "") if reply.kind == "ok" else _ended(reply, rung)
        tokens, usd = self._budget.charge(q.model, body, sent)
        occurrence = self._sent[sha256]
        completion = Completion(
            iteration=q.iteration, turn=q.turn, attempt=attempt, request_sha256=sha256, occurrence=occurrence,
            request="" if occurrence else body, rung=rung.form, outcome=outcome, detail=detail, status=reply.status,
            response=reply.text, model=reply.model, fingerprint=reply.fingerprint, request_id=reply.request_id,
            finish_reason=reply.finish_reason, tokens_prompt=reply.tokens_prompt,
            tokens_completion=reply.tokens_completion, tokens_cached=reply.tokens_cached,
            tokens_reasoning=reply.tokens_reasoning, charged_tokens=tokens, charged_usd=usd, seconds=reply.seconds,
            parent=q.parent, server=self._sender.server,
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

    def _source(self, done: Completion, model: str) -> dict[str, Any]:
        return {
            "model": done.model or model,
            "prompts": sha256_of(self._prompts.digests),
            "request_sha256": done.request_sha256,
            "response_sha256": sha256_text(done.response) if done.response is not None else "",
        }

    def _listen(self, turn: Turn) -> None:
        """Stop a run whose model has not been heard for a while."""
        self._silent = self._silent + 1 if turn.outcome in RETRIED else 0
        if self._silent >= SILENT_ITERATIONS and self._sender is not None:
            raise UserError(
                f"{self._sender.server} has given no answer in {self._silent} iterations ({turn.outcome}); every earlier row is "
                f"recorded. Look at the server, then go on with: {self._budget.resume}",
                Exit.FAILURE,
            )

    def _together(self, turns: Sequence[Turn], rules: Rules, count: int) -> tuple[list[Said], list[Said]]:
        """(said, refused): what is good in the last answer, then what was good in the first and is not in the last one."""
        found: dict[tuple[str, str], tuple[Candidate, Turn]] = {}
        for turn in turns:
            for c in turn.reading.good:
                found.setdefault(c.combination, (c, turn))
        kept, against = rules.batch([c for c, _ in found.values()], count)
        refused = [
            Said(text, self.name, turn.source, why) for turn in reversed(turns) for text, why in turn.reading.refused
        ]
        refused += [Said(refused_as(c), self.name, found[c.combination][1].source, why) for c, why in against]
        said = [Said(c.proposal, self.name, found[c.combination][1].source | {"bet": c.bet}) for c in kept]
        return said, refused

    def _rehearsed(self, iteration: int, said: Sequence[Said]) -> tuple[list[Said], list[Said]]:
        """(said, refused): the same proposals, statistics of the model's own as mended in rehearsal, and those not mended."""
        good: list[Said] = []
        refused: list[Said] = []
        for s in said:
            if self._rehearser is None or not isinstance(s.proposal, CodeProposal):
                good.append(s)
                continue
            done = rehearsed(self._rehearser, s.proposal, lambda values: self._mended(iteration, values))
            if done.refusal is None:
                good.append(replace(s, proposal=done.proposal, source={**s.source, "rehearsal": done.facts}))
            else:
                kept = refused_as(Candidate(done.proposal, s.source["bet"]))
                refused.append(replace(s, proposal=kept, refusal=done.refusal))
        return good, refused

    def _mended(self, iteration: int, values: dict[str, Any]) -> str | None:
        """The model's answer to what a rehearsal came to."""
        messages = [
            {"role": "system", "content": self._render("statistic")},
            {"role": "user", "content": self._render("rehearsal", **values)},
        ]
        model = self._settings.model
        done = self._ask(Question("rehearsal", iteration, model, messages, repair.SCHEMA, "statistic", repair.judged))
        return done.response if done.outcome in _READ else None

    def _filled(self, rules: Rules, count: int, said: Sequence[Said], turn: Turn) -> list[Said]:
        """Proposals of the offline proposer for the slots the model left empty."""
        mine = [s.proposal for s in said if isinstance(s.proposal, Proposal)]
        source = turn.source | {"filled_for": self.name, "reason": turn.outcome}
        return [Said(p, OfflineProposer.name, source) for p in fill(self._seed, rules, mine, count)]

    def _criticised(self, digest: Digest, count: int, said: Sequence[Said]) -> list[Said]:
        """The same proposals, each with what the critic remarked on it, if it did."""
        proposals = [s.proposal for s in said if isinstance(s.proposal, Proposal)]
        if not proposals:
            return list(said)
        text = digest_text(digest, count, self._settings.digest_tokens)
        user = self._render("criticise", hypotheses=critic.told(proposals), digest=text)
        messages = [{"role": "system", "content": self._render("critic")}, {"role": "user", "content": user}]
        model = self._settings.critic
        judge = critic.judged
        done = self._ask(Question("critic", digest.iteration, model, messages, critic.SCHEMA, "remarks", judge))
        found = critic.remarks(done.response or "", len(proposals)) if done.outcome in _READ else None
        source = self._source(done, model)
        del source["prompts"]  # the row's own, which include the critic's
        return [
            replace(s, source={**s.source, "critic": {**source, **found[place]}}) if found and place in found else s
            for place, s in enumerate(said)
        ]


def _judged(text: str, rules: Rules, count: int) -> tuple[str, str]:
    """Outcome and detail of an answer that arrived."""
    reading = read(text, rules, count)
    if not reading.is_json:
        return "invalid_json", reading.errors[0]
    return ("invalid_schema", "; ".join(reading.errors)[:2000]) if reading.errors else ("ok", "")


def _ended(reply: Reply, rung: Rung) -> tuple[str, str]:
    """Outcome and detail of an attempt without an answer that can be read."""
    if reply.kind == "unsupported" and rung.below(reply.detail) is None:
        return "denied", reply.detail
    return reply.kind, reply.detail


def _denial(done: Completion, model: str) -> UserError:
    return UserError(
        f"{done.server} does not take the request for model '{model}' ({done.detail}); look at the model's name, the address and "
        "the key in the environment, then run again: every earlier row is recorded",
        Exit.FAILURE,
    )
