"""Report data → one self-contained HTML page. ``render_report`` is pure; ``write_report`` is the only I/O."""

import base64
import hashlib
import os
import re
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .encode import compact
from .foreign import COLUMNS as FOREIGN_COLUMNS
from .model import ROLES, VERDICTS, ReportData, page_json
from .origins import known_before, origins
from .panels import calibration, coverage, histograms, rejections
from .proposers import between_proposers, scores
from .words import confirmed_rows, facts, overview, remarks

_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("core.js", "charts.js", "table.js", "detail.js", "start.js")
_LIVE = ("live.js",)
_STYLES = ("page.css", "panels.css")


class ReportError(Exception):
    """The page could not be written; the message is one sentence that says what to do."""

    exit_code = 1


def render_report(data: ReportData, live: bool = False) -> str:
    """The page as text: equal data give equal bytes. It loads nothing, and whatever a model wrote is inert in it.

    A ``live`` page, which `screen serve` gives out, also asks its own server where the ledger ends.

    Lone surrogates, which UTF-8 cannot hold, become ``?``.
    """
    theme = _read("theme.js")
    script = "(async()=>{\n" + "".join(_read(name) for name in (*_SCRIPTS, *_LIVE[:live])) + "})();\n"
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            run=data.run,
            control=data.control,
            origins=origins(data.run),
            known=known_before(data.run, data.rows),
            overview=overview(data),
            facts=facts(data),
            confirmed=confirmed_rows(data),
            histograms=histograms(data.rows),
            calibration=calibration(data),
            coverage=coverage(data),
            proposers=scores(data.rows) if data.complete else (),
            difference=between_proposers(data.rows),
            rejections=rejections(data),
            foreign_columns=tuple(FOREIGN_COLUMNS.values()),
            remarks=remarks(data.rows),
            reviewed=sum(bool(row.reviews) for row in data.rows),
            verdict_labels=VERDICTS,
            role_labels=ROLES,
            style=Markup("".join(_read(name) for name in _STYLES)),
            theme=Markup(theme),
            script=Markup(script),
            live=live,
            policy=_policy(theme, script, ask="'self'" if live else ""),
            payload=Markup(packed_json(page_json(data))),
        )
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def write_report(data: ReportData, path: str | Path) -> None:
    """Write the page to ``path``, whole or not at all; an existing file is replaced. Raises :class:`ReportError`."""
    path = Path(path)
    if not path.parent.is_dir():
        raise ReportError(f"the folder {path.parent} does not exist; create it, or choose another path for the report")
    if path.is_dir():
        raise ReportError(f"{path} is a folder; give the report a file name, for example {path / 'report.html'}")
    page = render_report(data).encode("utf-8")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _write_durably(temporary, page)
        temporary.replace(path)
    except OSError as error:
        raise ReportError(
            f"cannot write {path}: {error.strerror or error}; choose a folder you may write to"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def packed_json(value: Mapping[str, Any]) -> str:
    """JSON as raw deflate in base64: half the size, and no text of a model can end the element it stands in."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    text = compact(value).encode("utf-8", "replace")
    return base64.b64encode(squeezer.compress(text) + squeezer.flush()).decode("ascii")


def _write_durably(path: Path, content: bytes) -> None:
    # O_EXCL and the mode honour the user's umask, which a tempfile's 0600 would not
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _policy(*scripts: str, ask: str = "") -> str:
    """Content security policy: no script but ours, by hash, and no request at all, or only to ``ask``."""
    hashes = (base64.b64encode(hashlib.sha256(s.encode("utf-8")).digest()).decode("ascii") for s in scripts)
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    connect = f" connect-src {ask};" if ask else ""
    return (
        f"default-src 'none';{connect} script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
    )


@cache
def _read(name: str) -> str:
    """A script or style without indentation, whole-line comments and needless spaces: two thirds of its size."""
    lines = (line.strip() for line in (_TEMPLATES / name).read_text(encoding="utf-8").splitlines())
    text = "".join(f"{line}\n" for line in lines if line and not line.startswith(("//", "/*")))
    if name.endswith(".css"):
        return re.sub(r" ?([{};,]) ?\n?", r"\1", text).replace(": ", ":")
    return squeezed(text)


def squeezed(script: str) -> str:
    """A script without the spaces around signs that need none; strings, templates and patterns stay as they are.

    A template inside a template would lose spaces: scripts here have none, which a test checks.
    """
    short = _TOKEN.sub(lambda found: found.group(1) or found.group(2), script)
    return re.sub(r"(?<=[;{,])\n(?=.)|\n(?=\})", "", short)  # where a line may end, and no statement depends on it


_TOKEN = re.compile(
    r"""("(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|/(?:\\.|[^/\\\n])+/[gimsuy]*(?=[.,;)]))"""  # kept: strings, patterns
    r"""|[ ]?(=>|[=!]==|&&|\|\||[-+*<>=]|[{}(),;:?])[ ]?"""
)
"""A string, template or pattern of a script, or a sign that needs no space around it."""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"sig": sig, "p": p_text}
    return environment


def sig(value: float | None, digits: int = 3) -> str:
    """A number for reading: ``–`` if unknown."""
    return "–" if value is None else f"{value:.{digits}g}".replace("-", "−")


def p_text(value: float | None) -> str:
    """A p-value for reading: ``0.0123``, ``1.2e-4``."""
    if value is None:
        return "–"
    if value >= 0.001:
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e−{abs(int(exponent))}"
