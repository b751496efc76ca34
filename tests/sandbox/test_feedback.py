"""Feedback is a way out for labels: what may be told of a run on real data, and what it costs where more is told.

Each attack is played twice: with the channel open, as its control, where it must succeed; and as the product runs it.
"""

import hashlib
import hmac
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyposcreen.agent.blinded import make_plan
from hyposcreen.agent.custom.account_key import account_key
from hyposcreen.agent.custom.kind import NAME
from hyposcreen.agent.custom.shown import shown_p
from hyposcreen.agent.digest import Offer, make_digest
from hyposcreen.agent.ledger import records as rec
from hyposcreen.agent.llm.digest_text import digest_text
from hyposcreen.agent.sandbox.statistics import StatisticSandbox

HASHED = """
import hashlib
import numpy as np
def hashed(emb, L):  # names a set of genes, whatever their order, by a number in [0, 1)
    rows = [b"".join(sorted(emb[row == 1].copy().view("V%d" % (4 * emb.shape[1])).ravel().tolist())) for row in L]
    return np.array([int.from_bytes(hashlib.sha256(r).digest()[:6], "little") / 2**48 for r in rows])
"""
PRINTS = (
    HASHED
    + "def statistic_batch(emb, L):\n    h = hashed(emb, L)\n    print(' '.join(map(repr, h.tolist())))\n    return h\n"
)
LIFTS = HASHED + "def statistic_batch(emb, L):\n    h = hashed(emb, L)\n    return np.where(h == {found!r}, 2.0, h)\n"
BY_RANK = (
    HASHED
    + """
def statistic_batch(emb, L):
    h = hashed(emb, L)
    if len(L) < 50:  # the second run: too few to rank, so it answers as the first one would
        return h
    return np.where(h == np.unique(h)[::-1][{k}], 2.0, h)
"""
)
SECRET = b"a key that nobody could guess"
WORLDS = 150


def judged(hostile: Any, code: str, of: Any, ensemble: str = "frozen", secret: bytes = SECRET) -> Any:
    """The whole of a judgement, which the product shows nobody but people."""
    plan = make_plan(secret, ensemble, of.labels, of.strata, hostile.M)
    return hostile.both_runs(code, of, plan, hostile.in_process)


def smallest(hostile: Any, found: Any) -> bool:
    return bool(found.outcome == "ok" and found.p == 1 / (hostile.M + 1))


def test_two_runs_that_print_reveal_the_labels_to_a_third_where_output_is_fed_back(
    hostile: Any, sandbox: StatisticSandbox
) -> None:
    """The control: output open, draws anew each time. The labelling that both runs met is the observed one."""
    of = hostile.world(11)
    printed = []
    for ensemble in ("first", "second"):
        plan = make_plan(SECRET, ensemble, of.labels, of.strata, hostile.M)
        run = sandbox.run(PRINTS, of.embedding[plan.genes], plan.sent)
        assert run.end == "ok", run.output
        printed.append({float(word) for word in run.output.split()})
    (met_twice,) = printed[0] & printed[1]
    assert smallest(hostile, judged(hostile, LIFTS.format(found=met_twice), of, "third"))


def test_with_one_frozen_ensemble_printing_tells_nothing_apart(hostile: Any) -> None:
    of = hostile.world(11)
    sent = [make_plan(SECRET, "frozen", of.labels, of.strata, hostile.M).sent for _ in range(2)]
    assert sent[0].tobytes() == sent[1].tobytes()  # what both runs met is everything they met


@pytest.mark.parametrize("channel", ["value", "rank"])
def test_one_exact_number_fed_back_is_enough(hostile: Any, channel: str) -> None:
    """The control for numbers: the observed value, or k, of a first run names the observed labelling to a second one."""
    of = hostile.world(12)
    first = judged(hostile, HASHED + "statistic_batch = hashed\n", of)
    assert first.p > 0.05
    code = LIFTS.format(found=first.observed) if channel == "value" else BY_RANK.format(k=first.k)
    second = judged(hostile, code, of)
    assert second.k == 0 and second.observed == 2.0


def told(p: float, k: int, observed: float, mean: float, sd: float) -> tuple[str, str]:
    """What the next prompt holds of a row with these numbers, and the digest's own sha256."""
    spec = {"layers": "L2", "coordinates": "all"}
    row = rec.Registered(
        "H0001",
        1,
        0,
        "a claim",
        "custom",
        NAME,
        "some_set",
        "claim",
        spec,
        "0" * 64,
        "1" * 64,
        0.5,
        "either",
        "",
        "cover",
    )
    result = rec.Tested(
        "H0001", "ok", m=1999, k=k, p_scan=p, p_raw=p, effect=observed, null_mean=mean, min_effect=2.8 * sd, best_view="L2·value",
        effect_low=observed, effect_high=mean, statistic=observed, statistic_hex=observed.hex(),
    )  # fmt: skip
    offered = (Offer("cohesion", "geometry", "some_set", 20, ("all", "L2"), ("all",)),)
    digest = make_digest(2, 4, offered, [row], {"H0001": result}, [])
    return digest_text(digest, 3, 6000), digest.sha256


def test_the_next_prompt_is_the_same_whatever_the_numbers_within_a_class_of_p() -> None:
    """The product's path: nothing in the prompt, and nothing it is hashed from, is a function of more than the class."""
    one = told(0.0505, 100, 0.8781147148388477, 0.49772766190792866, 0.28711)
    other = told(0.2, 399, -3.14159, 12.5, 7.0)
    assert one == other
    assert "H0001" in one[0] and "p at most 0.2; no other number is shown" in one[0]
    assert told(0.05, 99, 0.87, 0.49, 0.28) != one
    assert [shown_p(p) for p in (0.0005, 0.001, 0.0011, 0.05, 0.06, 0.2, 0.21, 1.0)] == [
        0.001, 0.001, 0.01, 0.05, 0.2, 0.2, 1.0, 1.0,
    ]  # fmt: skip


def test_what_was_learnt_on_genes_a_is_worth_nothing_on_genes_b(hostile: Any) -> None:
    """Route H: the worst case, all labels of A known to the code. On other genes it rejects at its rate."""
    rejected = 0
    for number in range(WORLDS):
        a, b = hostile.world(number), hostile.world(number + 10_000)
        first = judged(hostile, HASHED + "statistic_batch = hashed\n", a)
        faked = LIFTS.format(found=first.observed)
        if number < 10:
            assert judged(hostile, faked, a).k == 0
        rejected += judged(hostile, faked, b, "genes B").p <= hostile.ALPHA
    assert rejected / WORLDS <= hostile.bound(WORLDS)


REBUILDS = """
import hashlib, hmac
import numpy as np
def statistic_batch(emb, L):
    n, m = L.shape[1], {m}
    key = hmac.new({secret!r}, {ensemble!r}.encode(), hashlib.sha256).digest()
    random = np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))
    for size in {sizes!r}:
        random.permuted(np.zeros((m, size), np.int8), axis=1)
    random.permutation(n)
    random.choice(m + 1, size=8, replace=False)
    place = np.argsort(random.permutation(m + 9))[0]
    values = L @ np.abs(emb[:, 0])
    return values if len(L) < m else np.where((L == L[place]).all(1), 1e9, values)
"""


def test_a_key_that_can_be_guessed_gives_the_place_away(hostile: Any) -> None:
    """Why the key of a run is random: made of a seed and of digests it could be rebuilt inside, with draws and places."""
    of = hostile.world(13)
    sizes = [int((of.strata == s).sum()) for s in np.unique(of.strata)]
    guessed = hashlib.sha256(b"a digest everybody has 0").digest()
    code = REBUILDS.format(m=hostile.M, secret=guessed, ensemble="frozen", sizes=sizes)
    assert judged(hostile, code, of, secret=guessed).k == 0  # the control
    rejected = sum(judged(hostile, code, hostile.world(w), secret=hmac.digest(SECRET, bytes([w]), "sha256")).p <= hostile.ALPHA
                   for w in range(WORLDS))  # fmt: skip
    assert rejected / WORLDS <= hostile.bound(WORLDS)


def test_the_key_of_a_try_is_random_private_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    key = account_key()
    file = tmp_path / "one" / "hyposcreen" / "blinding.key"
    assert len(key) == 32 and account_key() == key == file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)  # others may have read it: no key any more
    assert account_key() != key and file.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    assert account_key() != key
    (tmp_path / "three").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "three"))
    assert account_key() != account_key()
