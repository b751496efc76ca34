"""Tables with named columns: tab, comma or blank between fields, columns picked by name, rows streamed."""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from .base import AnnotationError, Options, Tally
from .text import numbered_lines

Row = tuple[str, ...]


@dataclass
class Table:
    """A header and its rows; the rows can be read once."""

    path: Path
    columns: Row
    rows: Iterator[tuple[int, Row]]
    """(line number, fields): as many fields as columns."""
    header: bool
    """Whether the file has one; without, columns are called 1, 2, 3 …"""

    def pick(self, role: str, names: Sequence[str], options: Options, required: bool = True) -> int | None:
        """Place of the column that plays ``role``: the one the user names, else the first of ``names`` that is there."""
        wanted = options.columns.get(role)
        if wanted is not None:
            return self.place(wanted, f"--columns {role}={wanted}")
        known = {_plain(column): place for place, column in reversed(list(enumerate(self.columns)))}
        for name in names:
            if _plain(name) in known:
                return known[_plain(name)]
        if not required:
            return None
        looked = ", ".join(names[:4]) or "a name you give"
        raise AnnotationError(
            f"{self.path} has no column for the {role} (looked for {looked}); its columns are {self._listed()}. "
            f"Name it with --columns {role}=COLUMN"
        )

    def place(self, name: str, said: str) -> int:
        """Place of a column given by name or by number from 1."""
        for place, column in enumerate(self.columns):
            if _plain(column) == _plain(name):
                return place
        if re.fullmatch(r"[0-9]+", name) and 1 <= int(name) <= len(self.columns):
            return int(name) - 1
        raise AnnotationError(f"{self.path}: {said} names no column; its columns are {self._listed()}")

    def kept(self, options: Options, dropped: Tally) -> Iterator[tuple[int, Row]]:
        """The rows that ``--where`` keeps; the others are counted."""
        places = [(column, self.place(column, f"--where {column}"), values) for column, values in options.where.items()]
        for line, row in self.rows:
            off = next((column for column, place, values in places if row[place] not in values), None)
            if off is None:
                yield line, row
            else:
                dropped.add(f"lines left out by --where {off}", row[self.place(off, "")][:40])

    def _listed(self) -> str:
        shown = ", ".join(f"'{column}'" for column in self.columns[:14])
        return shown + (" …" if len(self.columns) > 14 else "")


def read_table(path: Path, options: Options, without_header: Callable[[Row], bool] | None = None) -> Table:
    """Open the table at ``path``.

    ``without_header`` says of the first row whether it is data already, for formats that come with and without a header; a
    column given by number (``--columns gene=2``) where no column has that name says so too. Lines that begin with ``#``
    are comments, but for a first one that is the header (STRING writes it so). A row with more fields than the header is
    refused, because its columns have shifted; trailing empty fields may be missing.
    """
    lines = numbered_lines(path)
    number, first, second = _first_lines(lines)
    split = _splitter(first)
    head = split(first.lstrip("#") if first.startswith("#") else first)
    plain = {_plain(column) for column in head}
    by_number = bool(options.columns) and all(
        re.fullmatch(r"[0-9]+", c) and _plain(c) not in plain for c in options.columns.values()
    )
    bare = by_number or (without_header is not None and without_header(head))
    columns = tuple(str(place + 1) for place in range(len(head))) if bare else head
    rest: Iterator[tuple[int, str]] = chain([] if second is None else [second], lines)
    if bare:
        rest = chain([(number, first)], rest)
    return Table(path, columns, _rows(path, rest, split, len(columns)), not bare)


def _first_lines(lines: Iterator[tuple[int, str]]) -> tuple[int, str, tuple[int, str] | None]:
    """The first line that is header or data, and the line after it where that was read too."""
    last: tuple[int, str] | None = None
    for number, line in lines:
        if not line.startswith("#"):
            # A comment right above the data that has as many fields is its header.
            if last is not None and len(_splitter(line)(line)) == len(_splitter(line)(last[1].lstrip("#"))) > 1:
                return last[0], last[1], (number, line)
            return number, line, None
        last = (number, line)
    if last is None:
        raise AnnotationError("an empty table")  # numbered_lines refuses one before
    return last[0], last[1], None


def _rows(
    path: Path, lines: Iterator[tuple[int, str]], split: Callable[[str], Row], width: int
) -> Iterator[tuple[int, Row]]:
    for number, line in lines:
        if line.startswith("#"):
            continue
        fields = split(line)
        if len(fields) > width:
            if any(fields[width:]):
                raise AnnotationError(
                    f"{path}, line {number} has {len(fields)} fields and the header {width}: '{line[:60]}'; the columns have "
                    "shifted, so mend the line"
                )
            fields = fields[:width]
        yield number, fields + ("",) * (width - len(fields))


def _splitter(line: str) -> Callable[[str], Row]:
    if "\t" in line:
        return lambda text: tuple(_unquoted(field) for field in text.split("\t"))
    if "," in line:
        return lambda text: tuple(field.strip() for field in next(csv.reader([text])))
    return lambda text: tuple(text.split())


def _unquoted(field: str) -> str:
    text = field.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def mapped_columns(said: Sequence[str], roles: Mapping[str, tuple[str, ...]], format_: str) -> dict[str, str]:
    """``role=column`` texts of the command line as a mapping; unknown roles are named with the ones there are."""
    out = {}
    for text in chain.from_iterable(part.split(",") for part in said):
        role, equals, column = (part.strip() for part in text.partition("="))
        if not equals or not column or role not in roles:
            known = ", ".join(roles) or "none, this format has no columns to map"
            raise AnnotationError(
                f"--columns {text}: write ROLE=COLUMN, where the roles of {format_} are {known}; a column is named as in the "
                "header, or by its number from 1 in a file without one"
            )
        out[role] = column
    return out
