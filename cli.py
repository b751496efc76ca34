"""The command line: parse, call, print. No logic lives here, and nothing heavy is imported before a command needs it.

Results go to stdout, progress and errors to stderr. Every reading command has ``--json``.
"""

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from . import __version__
from .agent.commands.annotations import app as annotations_app
from .agent.commands.campaigns import app as campaign_app
from .agent.commands.proposers import add_to as add_proposers
from .agent.commands.reading import add_to as add_reading
from .agent.commands.record import add_to as add_record
from .agent.commands.record import ledger as ledger_app
from .agent.commands.trying import app as test_app
from .agent.errors import Exit, UserError
from .embeddings_cache.commands import app as cache_app
from .embeddings_cache.extraction_command import add_to as _add_extraction
from .embeddings_cache.printing import say as _say
from .embeddings_cache.printing import say_json as _json
from .embeddings_cache.printing import say_table as _table

app = typer.Typer(
    name="screen",
    help="Let an agent screen hypotheses about single-cell transformers, and still believe the result.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
tests_app = typer.Typer(help="The catalogue of tests.", no_args_is_help=True, rich_markup_mode=None)
config_app = typer.Typer(help="Settings.", no_args_is_help=True, rich_markup_mode=None)
add_record(app)
add_reading(app, ledger_app)
add_proposers(app)
app.add_typer(tests_app, name="tests")
app.add_typer(test_app, name="test")
_add_extraction(cache_app)
app.add_typer(cache_app, name="cache")
app.add_typer(annotations_app, name="annotations")
app.add_typer(campaign_app, name="campaign")
app.add_typer(config_app, name="config")

Folder = Annotated[Path, typer.Option("--project", "-C", help="Working folder: screen.toml and runs.db are there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HERE = Path()


@app.command()
def init(
    project: Folder = HERE,
    cache: Annotated[str | None, typer.Option(help="Cache name or folder.")] = None,
    annotations: Annotated[str | None, typer.Option(help="'demo' or a folder with annotations.toml.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of split, permutations and offline proposer.")] = None,
) -> None:
    """Write screen.toml with every setting, after checking that its inputs open."""
    from .agent.session import initialise

    _say(f"wrote {initialise(project, {'cache': cache, 'annotations': annotations, 'seed': seed})}")


@app.command()
def run(
    project: Folder = HERE,
    iterations: Annotated[int | None, typer.Option(help="Declared iterations; then the last look.")] = None,
    ledger: Annotated[
        str | None, typer.Option(help="postgresql+psycopg://USER@HOST/DATABASE instead of runs.db; several may run.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of split, permutations and offline proposer.")] = None,
    proposer: Annotated[str | None, typer.Option(help="Who proposes: offline, openai or recorded.")] = None,
    campaign: Annotated[
        str | None,
        typer.Option(help="A list to begin with, such as scgpt-2602.22247; alone unless --iterations or --proposer."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Of openai: the model's name. The key: OPENAI_API_KEY.")] = None,
    critic: Annotated[str | None, typer.Option(help="Of openai: a model whose remarks are kept, never a gate.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Of openai: address of a compatible server.")] = None,
    allow_code: Annotated[
        bool | None,
        typer.Option(
            "--allow-code/--no-allow-code", help="Of openai: the model may write statistics, confined and blinded."
        ),
    ] = None,
    recording: Annotated[str | None, typer.Option(help="Of recorded: folder of the run to read answers from.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens the run may spend; 0 = no limit.")] = None,
    max_usd: Annotated[float | None, typer.Option(help="Dollars the run may spend, by --prices; 0 = no limit.")] = None,
    prices: Annotated[str | None, typer.Option(help="TOML: dollars per million tokens by model.")] = None,
    cache: Annotated[str | None, typer.Option(help="Cache name or folder.")] = None,
    annotations: Annotated[str | None, typer.Option(help="'demo' or a folder with annotations.toml.")] = None,
    per_iteration: Annotated[int | None, typer.Option(help="Hypotheses an iteration.")] = None,
    looks: Annotated[
        int | None,
        typer.Option(help="Looks at the sealed genes; each before the last shows one count, later ones pay."),
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="P(any false confirmation) of the run.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; 0 = one a core.")] = None,
    executor: Annotated[str | None, typer.Option(help="What spreads the jobs: processes, or dask.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Of dask: the scheduler's address, or the file it wrote.")
    ] = None,
    sandbox: Annotated[
        str | None,
        typer.Option(help="Boundary of workers: auto, namespaces, landlock, sealed, none, docker, podman, seatbelt."),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(help="random-init: ask the same rows of the untrained twin of the cache, beside this run."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a campaign, or go on with the one in this folder. An empty folder is initialised first."""
    from .agent.controls import check_control, run_control
    from .agent.orchestrator import RunInterruptedError
    from .agent.progress import Progress
    from .agent.session import run_campaign

    flags = {
        "iterations": iterations, "ledger": ledger, "seed": seed,
        "proposer": proposer, "cache": cache, "annotations": annotations,
        "per_iteration": per_iteration, "looks": looks, "alpha": alpha, "workers": workers, "sandbox": sandbox,
        "executor": executor, "scheduler": scheduler,
        "campaign": campaign, "model": model, "critic": critic, "base_url": base_url, "recording": recording,
        "allow_code": allow_code,
        "max_tokens": max_tokens, "max_usd": max_usd, "prices": prices,
    }  # fmt: skip
    if control is not None:
        check_control(control)
    try:
        summary = run_campaign(project, flags, Progress(quiet))
        beside = None if control is None else run_control(project, control, Progress(quiet))
    except RunInterruptedError:
        where = "" if project == HERE else f" --project {shlex.quote(str(project))}"
        raise UserError(f"stopped; nothing is lost. Go on with: screen run{where}", Exit.INTERRUPTED) from None
    if as_json:
        return _json(
            {
                "rows": summary.rows, "rejected": summary.rejected, "verdicts": dict(summary.counts),
                "controls": {k: {"confirmed": c, "tested": t} for k, (c, t) in summary.controls.items()},
                "head": _head(summary.head), "report": str(summary.report), "complete": True,
            }
        )  # fmt: skip
    if summary.already_complete:
        _say("this run is complete; nothing was left to do")
    _say(f"rows       {summary.rows} hypotheses, {summary.rejected} proposals rejected")
    _say(f"verdicts   {', '.join(f'{n} {v}' for v, n in summary.counts.items())}")
    for role, (confirmed, tested) in summary.controls.items():
        _say(f"{role.split('_')[0]:<10} controls: {confirmed} of {tested} confirmed")
    if beside is not None:
        _say(f"control    {beside[0]} of {beside[1]} rows confirmed on the untrained twin")
    _say(f"head       {summary.head.seq}:{summary.head.hash}")
    _say(f"content    {summary.head.content_hash}")
    _say(f"report     {summary.report}")
    return None


@app.command()
def status(project: Folder = HERE, as_json: AsJson = False) -> None:
    """How the run of this folder stands."""
    from .agent.standing import status as how

    facts = how(project)
    if as_json:
        return _json(facts)
    _say(f"phase      {facts['phase']}, {facts['iterations_done']} of {facts['iterations']} iterations")
    _say(f"rows       {facts['rows']} hypotheses, {facts['rejected']} proposals rejected, {facts['promoted']} promoted")
    for shown in facts["looks_counted"]:
        _say(
            f"look       {shown['look']} of {facts['looks']}: {shown['confirmed']} of {shown['rows']} rows confirmed "
            f"({shown['bits']:.2f} bits shown, which later looks pay for)"
        )
    if (spend := facts["spend"]) is not None:
        _say(f"asked      {spend['calls']} calls, {spend['answers']} answers; {_outcomes(spend)}")
        _say(f"spent      {_spent(spend)}")
    _say(f"verdicts   {', '.join(f'{n} {v}' for v, n in facts['verdicts'].items()) or 'none yet'}")
    _say(f"head       {facts['head']['seq']}:{facts['head']['hash']}")
    return None


@app.command()
def report(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the page.")] = Path("report.html"),
    project: Folder = HERE,
) -> None:
    """Write the run as one self-contained HTML page."""
    from .agent.session import report_of

    _say(f"wrote {report_of(project, output)}")


@app.command()
def audit(
    worlds: Annotated[int, typer.Option(min=1, help="Complete campaigns to run.")] = 20,
    kind: Annotated[str, typer.Option(help="null, confounded or planted.")] = "null",
    proposer: Annotated[str, typer.Option(help="offline, or greedy: one that tries to exploit feedback.")] = "greedy",
    iterations: Annotated[int | None, typer.Option(help="Iterations a world.")] = None,
    project: Folder = HERE,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for audit.jsonl; an audit resumes from it.")
    ] = Path("audit"),
    workers: Annotated[int, typer.Option(min=0, help="Worlds at once; 0 = one a core.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: AsJson = False,
) -> None:
    """Re-run the complete loop in worlds whose truth is known, and count false confirmations."""
    from .agent.session import audit_worlds

    facts = audit_worlds(project, output, kind, proposer, worlds, {"iterations": iterations}, workers, quiet)
    if as_json:
        return _json(facts)
    _say(
        f"{facts['kind']} worlds, proposer {facts['proposer']}, {facts['iterations']} iterations, alpha {facts['alpha']:g}"
    )
    _share("any false confirmation", facts["any_false_confirmation"])
    for name, found in facts["instead"].items():
        if isinstance(found, dict):
            _share(f"instead, {name.replace('_', ' ')}", found)
        else:
            _say(f"{'instead, ' + name.replace('_', ' '):<44} {found:.3f}")
    for share, found in facts.get("power", {}).items():
        _share(f"planted share {share} found", found)
    return None


@app.command()
def doctor(project: Folder = HERE, as_json: AsJson = False) -> None:
    """Does this machine hold what a run needs? Every check does the thing it speaks of."""
    from .agent.doctor import examine

    checks = examine(project)
    if as_json:
        _json([vars(c) for c in checks])
    else:
        _table(("", "check", "what was found"), ((c.level, c.name, c.detail) for c in checks))
    if any(c.level == "broken" for c in checks):
        raise UserError("something a run needs is broken; see the lines above", Exit.FAILURE)


@tests_app.command("list")
def tests_list(as_json: AsJson = False) -> None:
    """Every test kind."""
    from .tests_library.catalogue import CATALOGUE

    if as_json:
        return _json([_declaration(k) for k in CATALOGUE.values()])
    _table(("test", "family", "needs", "asks"), ((k.name, k.family, k.entity, k.asks) for k in CATALOGUE.values()))
    return None


@tests_app.command("show")
def tests_show(name: str, as_json: AsJson = False) -> None:
    """One test kind: question, formula, null, assumptions, source."""
    from .tests_library.catalogue import CATALOGUE

    if name not in CATALOGUE:
        raise UserError(f"there is no test '{name}'; the tests are {', '.join(CATALOGUE)}", Exit.USAGE)
    facts = _declaration(CATALOGUE[name])
    if as_json:
        return _json(facts)
    for key, value in facts.items():
        _say(f"{key:<15} {value}")
    return None


@config_app.command("show")
def config_show(project: Folder = HERE, as_json: AsJson = False) -> None:
    """The settings in force here: screen.toml, then SCREEN_*, then flags."""
    from .agent.config import load_config

    settings = vars(load_config(project, {}))
    if as_json:
        return _json(settings)
    for name, value in settings.items():
        _say(f"{name:<22} {value}")
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: run a command; a user's error is one sentence on stderr and an exit code."""
    try:
        code = app(args=arguments, standalone_mode=False)
        if code == Exit.INTERRUPTED:  # newer versions of typer return this for Ctrl-C, older ones raise Abort
            raise KeyboardInterrupt
        if isinstance(code, int) and code:
            sys.exit(code)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(Exit.OK)
    except (KeyboardInterrupt, typer.Abort):
        print("screen: stopped; what was recorded is safe", file=sys.stderr)  # noqa: T201
        sys.exit(Exit.INTERRUPTED)
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        print(f"screen: {_message(error)}", file=sys.stderr)  # noqa: T201
        sys.exit(code)


def _exit_code(error: Exception) -> int | None:
    """The exit code of an error that is meant for users, or ``None`` for a defect of ours."""
    code = getattr(error, "code", None) if isinstance(error, UserError) else getattr(error, "exit_code", None)
    return None if code is None else int(code)


def _message(error: Exception) -> str:
    format_message: Callable[[], str] = getattr(error, "format_message", lambda: str(error))
    return format_message()


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        _say(f"hyposcreen {__version__}")
        raise typer.Exit


def _outcomes(spend: dict[str, Any]) -> str:
    read = f", {spend['recorded']} read from a recording" if spend["recorded"] else ""
    return (", ".join(f"{n} {name}" for name, n in spend["outcomes"].items()) or "none yet") + read


def _spent(spend: dict[str, Any]) -> str:
    text = f"{spend['charged_tokens']} tokens"
    text += "" if spend["max_tokens"] is None else f" of {spend['max_tokens']}, {spend['tokens_left']} left"
    text += f"; ${spend['charged_usd']:.4f}" if spend["priced"] else ""
    text += "" if spend["max_usd"] is None else f" of ${spend['max_usd']:g}, ${spend['usd_left']:.4f} left"
    return text + (f" ({spend['unknown']} answers estimated: no usage was sent)" if spend["unknown"] else "")


def _head(head: Any) -> dict[str, Any]:
    return {"seq": head.seq, "hash": head.hash, "content_hash": head.content_hash}


def _declaration(kind: Any) -> dict[str, Any]:
    from .tests_library.catalogue import companion_nulls

    said = {name: value for name, value in vars(kind).items() if not callable(value)}
    plain = {"coordinates": kind.coordinates.name, "nulls": list(companion_nulls(kind)), "needs": sorted(kind.needs)}
    return {name: value for name, value in (said | plain).items() if value is not None}


def _share(name: str, found: dict[str, Any]) -> None:
    share = found["count"] / max(1, found["worlds"])
    interval = f"95 % interval {found['ci_low']:.3f} to {found['ci_high']:.3f}"
    _say(f"{name:<44} {found['count']} of {found['worlds']} worlds = {share:.3f}, {interval}")
