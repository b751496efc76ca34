"""Lines of a text file, plain, gzip or zip, without loading it; what is no such file is refused with the mend."""

import gzip
import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from ..annotation_files import AnnotationError

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_OTHERS = {
    b"\xd0\xcf\x11\xe0": ("an old spreadsheet", "save it as tab-separated text"),
    b"\xff\xfe": ("UTF-16 text", "convert it with iconv -f utf-16 -t utf-8"),
    b"%PDF": ("a PDF", "give the table it was made from"),
    b"PAR1": ("a Parquet file", "export it as tab-separated text"),
}


def sha256_of_file(path: Path) -> str:
    """Hex sha256 of the bytes of ``path``."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of every line that holds something, without its line end.

    Raises ``AnnotationError`` for a missing or empty file, one that is no text, cut-off gzip, and bytes that are not UTF-8.
    """
    if path.is_dir():
        raise AnnotationError(
            f"{path} is a folder; give a file in it, or the folder itself to screen run --annotations"
        )
    if not path.is_file():
        raise AnnotationError(f"there is no file {path}; check the name")
    with path.open("rb") as handle:
        start = handle.read(16)
    for magic, (what, mend) in _OTHERS.items():
        if start.startswith(magic):
            raise AnnotationError(f"{path} is {what}; {mend}")
    held = False
    try:
        with _opened(path, start) as lines:
            for number, raw in enumerate(lines, start=1):
                line = _decoded(raw, path, number).rstrip("\r\n")
                if not line.strip():
                    continue
                if not held and line.lstrip().lower().startswith(("<!doctype html", "<html")):
                    raise AnnotationError(f"{path} is a web page, not a table; download the file itself")
                held = True
                yield number, line
    except zipfile.BadZipFile as error:
        raise AnnotationError(f"{path} is a zip archive that is broken ({error}); download it again") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise AnnotationError(f"{path} is gzip that ends too early or is broken ({error}); download it again") from None
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read ({error.strerror}); check its permissions") from None
    if not held:
        raise AnnotationError(f"{path} is empty; give the file that holds the annotation")


def _opened(path: Path, start: bytes) -> BinaryIO:
    """The bytes of ``path``: unpacked where it is gzip, or a zip archive of one file."""
    if start.startswith(_GZIP):
        return cast("BinaryIO", gzip.open(path, "rb"))
    if not start.startswith(_ZIP):
        return path.open("rb")
    archive = zipfile.ZipFile(path)
    if len(archive.namelist()) != 1:
        raise AnnotationError(
            f"{path} is a spreadsheet, or a zip archive of {len(archive.namelist())} files; save the table as tab-separated text"
        )
    return cast("BinaryIO", archive.open(archive.namelist()[0]))


def _decoded(raw: bytes, path: Path, number: int) -> str:
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        what = f"byte 0x{raw[error.start]:02x} is not UTF-8, the file may be Latin-1"
        raise AnnotationError(f"{path}, line {number}: {what}; convert it with iconv -f latin1 -t utf-8") from None
