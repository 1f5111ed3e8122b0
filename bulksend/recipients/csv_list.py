"""A CSV list as numbered blocks of text columns: any delimiter, double quotes, any encoding, compressed or not.

A record that cannot be used (the wrong number of fields, bytes that are not UTF-8) is a fault with its number; the
others keep theirs. Records are numbered from 1, the header and empty lines not counted.
"""

from __future__ import annotations

import codecs
import csv
import functools
import io
import secrets
from typing import TYPE_CHECKING, Literal, NoReturn, cast

import pyarrow as pa
import pyarrow.csv as pacsv

from bulksend.errors import ListError
from bulksend.recipients.block import Block
from bulksend.recipients.bytes_in import NUL_STAND_IN, UNDECODABLE, Compression, ListBytes, valid_utf8
from bulksend.recipients.columns import compute as pc
from bulksend.recipients.columns import occurs
from bulksend.recipients.quotes import QuoteFault, Quotes
from bulksend.recipients.skipped import Fault, shorten
from bulksend.recipients.source import PLAIN, open_input

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO, Self

    from bulksend.recipients.columns import Numbers, Texts
    from bulksend.recipients.source import ListFiles, ListFormat

__all__ = ["CsvList"]

BLOCK_BYTES = 1024 * 1024
"""How much is parsed at a time, and so the longest row: above what a row of 262,144 characters of data can take."""

HEADER_BYTES = 256 * 1024
"""The longest header."""

_UNDECODABLE_BYTES = "".join(f"\\x{byte:02x}" for byte in UNDECODABLE.encode())
"""The same as an RE2 expression of bytes."""

DELIMITERS = ",;\t|"
"""Those that are looked for in the header; where two are there as often, the one that stands here first."""

CODECS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
_CSV_BYTES_PER_COMPRESSED_BYTE = 6

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class CsvList:
    """A CSV list, opened; a context manager.

    Raises:
        ListError: the file cannot be read, is empty, or its header is not one of a CSV file in that encoding.
    """

    json_columns: frozenset[str] = frozenset()
    """All cells are text."""

    def __init__(self, source: Path | str, form: ListFormat = PLAIN, found: ListFiles | None = None) -> None:
        self._source = source
        found = found or open_input(source, form)
        if found.is_folder:
            raise ListError(f"{source} is not a file", hint="Name the CSV file itself.")
        self._found = found
        (file,) = found.files
        if form.delimiter is not None and (
            len(form.delimiter) != 1 or not form.delimiter.isascii() or form.delimiter in '\r\n"\0'
        ):
            raise ListError(f"{form.delimiter!r} cannot be the delimiter of {source}", hint="Name one ASCII character.")
        codec = CODECS.get(file.base_name[file.base_name.rfind(".") :].lower())
        self._encoding = form.encoding or "UTF-8"
        self._bytes = ListBytes(file, codec, form.encoding)
        self.csv_bytes = file.size_bytes * (1 if codec is None else _CSV_BYTES_PER_COMPRESSED_BYTE)
        """About how many bytes of CSV these are."""
        try:
            self._head = self._bytes.read(HEADER_BYTES)
            self._delimiter = form.delimiter or _sniffed(self._head)
            self.header = self._read_header(as_is=form.encoding is None)
        except BaseException:
            self._bytes.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bytes.close()

    def hash_rest(self) -> str:
        """The SHA-256 of the file's bytes, in hex: those that were read, and those that were not.

        Raises:
            ListError: the file has changed since it was found.
        """
        digest = self._bytes.hash_rest()
        self._found.refuse_changes()
        return digest

    def _read_header(self, *, as_is: bool) -> tuple[str, ...]:
        head, source = self._head, self._source
        if not head.removeprefix(codecs.BOM_UTF8).strip(b"\r\n"):
            raise ListError(f"{source}: the file is empty")
        if as_is and head.startswith(_UTF16_MARKS):
            raise ListError(
                f"{source}: the file is encoded as UTF-16",
                hint="Save it as UTF-8 (in a spreadsheet: CSV UTF-8), or name the encoding.",
            )
        # Latin-1 gives each byte a character of its own, so that the fields can be had before their encoding is judged.
        lines = io.StringIO(head.removeprefix(codecs.BOM_UTF8).decode("latin-1"), newline="")
        try:
            fields = next(record for record in csv.reader(lines, delimiter=self._delimiter) if record)
        except (csv.Error, StopIteration):
            fields = []
        if not fields or (len(head) >= HEADER_BYTES and lines.tell() >= len(head) - len(codecs.BOM_UTF8)):
            raise ListError(
                f"{source}: the header is longer than {HEADER_BYTES:,} bytes, or has a quote that is never closed"
            )
        if any("\0" in field for field in fields):
            raise ListError(f"{source}: the header has NUL bytes in it", hint="Save the list as a CSV file in UTF-8.")
        try:
            names = tuple(field.encode("latin-1").decode("utf-8") for field in fields)
        except UnicodeDecodeError:
            names = (UNDECODABLE,)
        if any(UNDECODABLE in name for name in names):
            raise ListError(
                f"{source}: the header is not valid {self._encoding}",
                hint="Save the list as a CSV file in UTF-8, or name its encoding.",
            )
        return names

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        """The list, block by block: of each record the named columns, the address first. Can be read once.

        Raises:
            ListError: a row is longer than BLOCK_BYTES, or a quote is never closed, or text follows a closing one.
        """
        width = len(self.header)
        names = [f"c{place}" for place in range(width)]
        mapped = [names[self.header.index(column)] for column in columns]
        # A record that cannot be right ends the input. Where it does not come out again, a quote swallowed it.
        end_mark = secrets.token_hex(16) + self._delimiter * width
        address_place = self.header.index(columns[0])
        quotes = Quotes(self._delimiter, width, address_place)
        stream = _Utf8Stream(self._head.removeprefix(codecs.BOM_UTF8), self._bytes, quotes, f"\n{end_mark}\n".encode())
        numbers = _Numbers(width, address_place, end_mark, self._delimiter)
        # The header is read as a record, under names of our own, so that its names may be anything. It is number 1.
        read_options = pacsv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=names)
        parse_options = pacsv.ParseOptions(
            delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=numbers.ragged
        )
        convert_options = pacsv.ConvertOptions(
            check_utf8=False,  # the stream is, by then
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=mapped,
            strings_can_be_null=False,
        )
        expected = {"header": [self.header[names.index(name)] for name in mapped]}
        with pacsv.open_csv(cast("BinaryIO", stream), read_options, parse_options, convert_options) as reader:
            for read in reader:
                batch = read
                if expected and len(batch):
                    if numbers.last >= 0 or [cell[0].as_py() for cell in batch.columns] != expected.pop("header"):
                        self._fail_at_header()
                    numbers.skip_header()
                    batch = batch.slice(1)
                rows, faults = numbers.take(len(batch))
                cells = [_with_nul(cell) for cell in batch.columns] if stream.has_nul else batch.columns
                block = Block(rows, dict(zip(columns, cells, strict=True)), faults)
                repaired = stream.repaired or self._bytes.replaced
                yield _without_undecodable(block, self._encoding) if repaired else block
        if expected:
            self._fail_at_header()
        if quotes.fault is not None:
            self._fail_at_fault(numbers.last, quotes.fault)
        if stream.too_long:
            self._fail_at_row(numbers.last + 1)
        if not numbers.ended:
            self._fail_at_quote(numbers.last)
        yield Block(pa.array([], pa.int64()), {column: pa.array([], pa.string()) for column in columns}, numbers.rest())

    def _fail_at_header(self) -> NoReturn:
        raise ListError(
            f"{self._source}: the first line cannot be read as the names of columns",
            hint="Write the names with delimiters between them, in double quotes where a name has one or a quote.",
        )

    def _fail_at_row(self, row: int) -> NoReturn:
        raise ListError(
            f"{self._source}: row {row} has over {BLOCK_BYTES:,} bytes, or a quote in it is never closed",
            hint=f"Look for a double quote that stands alone in row {row}, close it or double it, and plan again.",
        )

    def _fail_at_fault(self, row: int, fault: QuoteFault) -> NoReturn:
        raise ListError(f"{self._source}: row {row} {fault.problem}", hint=f"{fault.hint}, and plan again.")

    def _fail_at_quote(self, row: int) -> NoReturn:
        raise ListError(
            f"{self._source}: a quote that opens in row {row} is never closed, so the rest of the list is one field",
            hint=f"Look for a double quote that stands alone in row {row}, close it or double it, and plan again.",
        )


def _without_undecodable(block: Block, encoding: str) -> Block:
    """The block without the rows in which bytes had to be replaced, which are faults now."""
    found: dict[int, str] = {}
    for name, column in block.columns.items():
        if occurs(_UNDECODABLE_BYTES, column):
            for place in pc.indices_nonzero(pc.match_substring(column, UNDECODABLE)).to_pylist():
                found.setdefault(place, name)
    if not found:
        return block
    address = next(iter(block.columns.values()))
    faults = [
        Fault(
            block.rows[place].as_py(),
            address[place].as_py().replace(UNDECODABLE, "\ufffd"),
            f"not valid {encoding} in column {name!r}",
        )
        for place, name in found.items()
    ]
    return block.without(found, faults)


def _sniffed(head: bytes) -> str:
    """The delimiter that stands in the header most often, outside of quotes."""
    count = dict.fromkeys(DELIMITERS.encode(), 0)
    inside, begun = False, False
    for byte in head.removeprefix(codecs.BOM_UTF8):
        if byte == ord('"'):
            inside = not inside
        elif inside:
            continue
        elif byte in b"\r\n":
            if begun:
                break
            continue
        elif byte in count:
            count[byte] += 1
        begun = True
    return chr(max(count, key=count.__getitem__))


def _with_nul(column: Texts) -> Texts:
    """The column with the NULs that the list has."""
    texts: Texts = pc.replace_substring(column, NUL_STAND_IN, "\0")
    return texts


class _Utf8Stream(io.RawIOBase):
    """The list as pyarrow reads it: made valid UTF-8 without NULs, cut between rows, and followed by an end mark.

    It ends with a field whose quotes are at fault, its row is the last one then; and before a row that is too long.

    Bytes that are no UTF-8 would stop the parser for good at a record with the wrong number of fields. They become
    UNDECODABLE, by which the records at fault are found later. NULs become NUL_STAND_IN.

    What is read at once is a block to the parser, which loses the LF of a CR LF in quotes where one ends between them
    (https://github.com/apache/arrow/issues/51368).
    """

    def __init__(self, head: bytes, rest: ListBytes, quotes: Quotes, end_mark: bytes) -> None:
        self._head = head
        self._quotes = quotes
        self._rest = rest
        self._end_mark = end_mark
        self._tail = b""
        self._ended = False
        self.repaired = False
        self.has_nul = False
        self.too_long = False

    def read(self, size: int = -1, /) -> bytes:
        """The rows that the next `size` bytes of the list complete; more bytes, if there is none in them."""
        rows = b""
        while not rows and not self._ended:
            raw, self._head = self._head, b""
            if len(raw) < size:
                raw += self._rest.read(size - len(raw))
            self._ended = len(raw) < size
            data, self._tail, repaired = valid_utf8(self._tail + raw, final=self._ended)
            self.repaired = self.repaired or repaired
            rows = self._without_nul(self._quotes.sound_rows(data, final=self._ended))
            self.too_long = not self._ended and self._quotes.held_bytes > BLOCK_BYTES
            if self._ended or self._quotes.fault is not None or self.too_long:
                self._ended = True
                rows += self._end_mark
        return rows

    def _without_nul(self, data: bytes) -> bytes:
        if b"\xf4" in data and NUL_STAND_IN.encode() in data:  # one byte is found much faster
            self.repaired = True
            data = data.replace(NUL_STAND_IN.encode(), UNDECODABLE.encode())
        if b"\0" in data:
            self.has_nul = True
            data = data.replace(b"\0", NUL_STAND_IN.encode())
        return data

    def readable(self) -> bool:
        """Yes."""
        return True


@functools.lru_cache(maxsize=64)  # many records, few strings
def _ragged_detail(fields: int, expected: int) -> str:
    return f"has {'1 field' if fields == 1 else f'{fields} fields'}, the header has {expected}"


class _Numbers:
    """Which record each row is. The parser drops records with the wrong number of fields and reports their numbers.

    Its reports may run ahead of the rows that it has handed out, never behind them.
    """

    def __init__(self, width: int, address_place: int, end_mark: str, delimiter: str) -> None:
        self._width = width
        self._address_place = address_place
        self._end_mark = end_mark
        self._delimiter = delimiter
        self._ragged: list[Fault] = []
        self._last = -1  # the header is record 0
        self.ended = False

    @property
    def last(self) -> int:
        """The highest number below which every record is known."""
        last = self._last
        for fault in self._ragged:
            if fault.row > last + 1:
                break
            last = fault.row
        return last

    def ragged(self, row: pacsv.InvalidRow) -> Literal["skip"]:
        """The parser's report of a record; its numbers start with 1 at the header, and leave out empty lines."""
        if row.text == self._end_mark:
            self.ended = True
        else:
            assert row.number is not None  # known where one thread reads
            detail = _ragged_detail(row.actual_columns, row.expected_columns)
            self._ragged.append(Fault(row.number - 1, self._address(row.text), detail))
        return "skip"

    def skip_header(self) -> None:
        """The first row that came is the header."""
        self._last = 0

    def take(self, count: int) -> tuple[Numbers, list[Fault]]:
        """The numbers of the next `count` rows, and the faults that are known to lie before the row after them."""
        after, last, passed = self._last, self._last + count, 0
        for fault in self._ragged:
            if fault.row > last + 1:
                break
            last += 1
            passed += 1
        faults, self._ragged = self._ragged[:passed], self._ragged[passed:]
        self._last = last
        numbers = pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int64()), last - after), start=after)
        if passed:
            numbers = numbers.filter(pc.invert(pc.is_in(numbers, pa.array([f.row for f in faults], pa.int64()))))
        return numbers, faults

    def rest(self) -> list[Fault]:
        """The faults after the last row."""
        faults, self._ragged = self._ragged, []
        return faults

    def _address(self, text: str) -> str:
        text = text.replace(NUL_STAND_IN, "\0")
        try:
            fields = next(csv.reader([text], delimiter=self._delimiter), [])
        except csv.Error:
            fields = []
        shown = fields[self._address_place] if self._address_place < len(fields) else text
        return shorten(shown).replace(UNDECODABLE, "\ufffd")
