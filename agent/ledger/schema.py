"""Tables of the ledger. ``entry`` is the record; every other table is a projection that can be rebuilt from it."""

from sqlalchemy import (
    REAL,
    TEXT,
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

SCHEMA_VERSION = 8
"""``PRAGMA user_version``. It grows when a projection changes; an older file is rebuilt when opened for writing."""

APPLICATION_ID = 0x48795363
"""``PRAGMA application_id``: "HySc" in ASCII."""

METADATA = MetaData()

# STRICT tables know only SQLite's own type names; elsewhere the generic types keep 64 bits.
_INT = BigInteger().with_variant(Integer(), "sqlite")
_REAL: Double[float] = Double().with_variant(REAL(), "sqlite")
_TEXT = Text().with_variant(TEXT(), "sqlite")


def _int(name: str, *arguments: object, nullable: bool = False, **options: object) -> Column[int]:
    return Column(name, _INT, *arguments, nullable=nullable, **options)  # type: ignore[arg-type]


def _real(name: str, nullable: bool = False) -> Column[float]:
    return Column(name, _REAL, nullable=nullable)


def _text(name: str, *arguments: object, nullable: bool = False) -> Column[str]:
    return Column(name, _TEXT, *arguments, nullable=nullable)  # type: ignore[arg-type]


def _hypothesis(name: str = "id", nullable: bool = False) -> Column[str]:
    return _text(name, ForeignKey("hypothesis.id"), nullable=nullable)


def _probability(*names: str) -> list[CheckConstraint]:
    return [CheckConstraint(f"{name} > 0 AND {name} <= 1", name=f"{name}_is_a_p_value") for name in names]


def _projection(name: str, *items: Column[int] | Column[float] | Column[str] | CheckConstraint | UniqueConstraint,
                many: bool = False) -> Table:  # fmt: skip
    """A projection table: one row an entry, or with ``many`` several, numbered by ``ordinal`` from 0."""
    key: list[Column[int]] = [_int("seq", ForeignKey("entry.seq"), primary_key=True, autoincrement=False)]
    if many:
        key.append(_int("ordinal", primary_key=True, autoincrement=False))
    return Table(name, METADATA, *key, *items, sqlite_strict=True)


ENTRY = Table(
    "entry",
    METADATA,
    _int("seq", primary_key=True, autoincrement=False),
    _text("kind"),
    _text("content", nullable=True),
    _text("context"),
    _text("prev"),
    _text("hash"),
    _text("content_hash"),
    sqlite_strict=True,
)

RUN = _projection(
    "run", _text("seed"), _int("iterations"), _int("per_iteration"), _text("proposer"), _real("alpha"),
    _real("alpha_u"), _real("alpha_h"), _int("permutations_explore"), _int("permutations_look"), _int("max_promoted"),
    _real("promote_p"), _text("cache_digest"), _text("cache"), _text("annotations"), _text("split"),
    _text("universe"), _text("version"), _text("look_alphas"),
)  # fmt: skip
PROPOSAL = _projection(
    "proposal",
    _int("iteration"),
    _int("slot"),
    _text("proposer"),
    _text("digest_sha256"),
    _text("proposal"),
    _text("source"),
)
PROPOSER = _projection(
    "proposer", _text("proposer"), _text("model"), _text("prompts"), _int("answer_tokens"), _int("digest_tokens")
)
COMPLETION = _projection(
    "completion", _int("iteration"), _text("turn"), _int("attempt"), _text("request_sha256"), _int("occurrence"),
    _text("request"), _text("rung"), _text("outcome"), _text("detail"), _int("status", nullable=True),
    _text("response", nullable=True), _text("model", nullable=True), _text("fingerprint", nullable=True),
    _text("request_id", nullable=True), _text("finish_reason", nullable=True), _int("tokens_prompt", nullable=True),
    _int("tokens_completion", nullable=True), _int("tokens_cached", nullable=True),
    _int("tokens_reasoning", nullable=True), _int("charged_tokens"), _real("charged_usd", nullable=True),
    _real("seconds"), _text("parent", nullable=True), _text("server"), _text("served"),
)  # fmt: skip
BUDGET = _projection("budget", _int("max_tokens"), _real("max_usd"), _text("prices"))
REJECTION = _projection(
    "rejection", _int("iteration"), _int("slot"), _text("reason"), _text("detail"), _text("duplicate_of", nullable=True)
)
HYPOTHESIS = _projection(
    "hypothesis", _text("id"), _int("iteration"), _int("slot"), _text("claim"), _text("family"), _text("test"),
    _text("annotation"), _text("role"), _text("spec"), _text("spec_sha256"), _text("novelty_sha256"), _real("prior"),
    _text("direction"), _text("rationale"), _text("move"), _hypothesis("parent", nullable=True),
    UniqueConstraint("id"), UniqueConstraint("novelty_sha256"),
)  # fmt: skip
ATTEMPT = _projection(
    "attempt", _hypothesis(), _int("number"), _text("event"), _text("worker", nullable=True),
    _text("started", nullable=True), _real("lease_seconds", nullable=True), _text("outcome", nullable=True),
    _real("seconds", nullable=True), _text("detail", nullable=True),
)  # fmt: skip
RESULT = _projection(
    "result", _hypothesis(), _text("status"), _text("reason"), _int("n_genes"), _int("n_entity"), _text("null_name"),
    _int("m"), _int("k"), _real("p_scan"), _real("p_raw"), _real("statistic"), _text("statistic_hex"),
    _text("best_view"), _real("effect"), _real("null_mean"), _text("effect_unit"), _real("min_effect"),
    _real("effect_low", nullable=True), _real("effect_high", nullable=True), _real("interval_level", nullable=True),
    _text("interval_method"), _int("interval_units"), _text("interval_missing"), _text("baselines"),
    _text("companions"), _text("checks"), UniqueConstraint("id"), CheckConstraint("k BETWEEN 0 AND m", name="k_counts_draws"),
    *_probability("p_scan", "p_raw"),
)  # fmt: skip
VIEW_RESULT = _projection(
    "view_result", _text("id", ForeignKey("result.id")), _text("layer"), _text("coordinate"), _int("statistic"),
    _real("effect"), _real("null_mean"), _real("z"), _int("k"), many=True,
)  # fmt: skip
ITERATION = _projection(
    "iteration", _int("iteration"), _int("registered"), _int("rejected"), UniqueConstraint("iteration")
)
PROMOTION = _projection("promotion", _hypothesis(), _text("rule"), UniqueConstraint("id"), many=True)
LOOK = _projection("look", _int("look"), _real("alpha_u"), _real("alpha_h"), UniqueConstraint("look"))
LOOK_COUNT = _projection(
    "look_count", _int("look", ForeignKey("look.look")), _int("rows"), _int("confirmed"), _real("bits"),
    UniqueConstraint("look"), CheckConstraint("confirmed BETWEEN 0 AND rows", name="confirmed_counts_rows"),
)  # fmt: skip
LOOK_RESULT = _projection(
    "look_result", _hypothesis(), _int("look", ForeignKey("look.look")), _text("route"), _text("status"),
    _text("reason"), _int("n_genes"), _int("n_entity"), _text("null_name"), _int("m"), _int("k"), _real("p"),
    _int("k_adj"), _real("p_adj"), _real("weight"), _text("statistic_hex"), _real("effect"), _real("null_mean"),
    _text("best_view"), UniqueConstraint("id", "route", "look"),
    CheckConstraint("k BETWEEN 0 AND m", name="k_counts_draws"), *_probability("p", "p_adj"),
)  # fmt: skip
VERDICT = _projection("verdict", _hypothesis(), _text("verdict"), _text("route"), _text("rule"), UniqueConstraint("id"))
RUN_END = _projection("run_end", _text("counts"))
REPLAY = _projection("replay", _hypothesis(), _text("outcome"), _text("detail"))
REVIEW = _projection("review", _hypothesis(), _text("author"), _text("act"), _text("text"), _text("at"))
FOREIGN_SOURCE = _projection(
    "foreign_source", _text("name"), _text("file"), _text("sha256"), _text("columns"), _int("draws", nullable=True),
    _text("source"), _int("rows"), _text("at"), UniqueConstraint("name"),
)  # fmt: skip
FOREIGN_ROW = _projection(
    "foreign_row", _text("id"), _text("source", ForeignKey("foreign_source.name")), _text("label"), _text("claim"),
    _text("p_printed"), _text("p_kind"), _real("p", nullable=True), _int("draws", nullable=True), _text("others"),
    UniqueConstraint("id"),
)  # fmt: skip
ARTIFACT = _projection("artifact", _text("sha256"), _text("name"), _int("bytes"), UniqueConstraint("sha256"))
ENVIRONMENT = _projection(
    "environment", _text("code", ForeignKey("artifact.sha256")), _text("inputs"), _text("packages"), _text("numerics"),
    _text("machine"),
)  # fmt: skip

PROJECTIONS: tuple[Table, ...] = tuple(table for table in METADATA.sorted_tables if table is not ENTRY)
"""In order of their foreign keys."""

TRIGGERS: dict[str, str] = {
    f"entry_no_{action.lower()}": (
        f"CREATE TRIGGER entry_no_{action.lower()} BEFORE {action} ON entry "
        "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
    )
    for action in ("UPDATE", "DELETE")
}
"""Name → the exact SQL SQLite keeps in ``sqlite_master``."""


def create(connection: Connection) -> None:
    """Make every table, index and trigger, and sign the file. Runs inside the caller's transaction."""
    METADATA.create_all(connection, checkfirst=False)
    connection.exec_driver_sql("CREATE INDEX entry_kind ON entry (kind)")
    for statement in TRIGGERS.values():
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def trigger_problems(connection: Connection) -> tuple[str, ...]:
    """One sentence for each append-only trigger that is missing or altered, and for each that is not ours."""
    names = [table.name for table in METADATA.sorted_tables]
    found = {
        name: (table, sql)
        for name, table, sql in connection.execute(
            text("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'")
        )
        if table in names
    }
    problems = []
    for name, sql in TRIGGERS.items():
        if name not in found:
            problems.append(f"the append-only trigger {name} is missing")
        elif found[name] != ("entry", sql):
            problems.append(f"the append-only trigger {name} was altered")
    problems += [
        f"the trigger {name} on table {found[name][0]} is not hyposcreen's" for name in found.keys() - TRIGGERS
    ]
    return tuple(sorted(problems))
