"""Write a recipient list for measurements: deterministic, so that two runs measure the same thing.

    python loadtest/lists.py --rows 1000000 --out list.csv

Columns: email, first_name, plan, city, note; about 150 bytes of data a row, every address different.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FIRST_NAMES = ("Ada", "Grace", "Zoë", "Edsger", "Barbara", "Linus", "Søren", "Mary Ann", "Chidi", "Yuki", "Olga")
PLANS = ("free", "basic", "team", "enterprise")
CITIES = ("Lisbon", "Kraków", "Osaka", '"The Hague, NL"', "Nairobi", "Montréal", "Austin")
NOTES = (
    "Your workspace has been quiet this week and two invitations are still waiting for an answer from your colleagues",
    "The report that you asked for is ready and stays available for thirty days; after that it is removed for good ok",
    "Three people looked at the page since Monday and one of them left a comment that you may want to read yourself",
)
ROWS_PER_WRITE = 10_000
ROWS_PER_GROUP = 500_000
FORMATS = ("csv", "parquet")


def address(number: int, repeat_every: int = 0) -> str:
    """The address of row `number`, counted from 0. Of every `repeat_every` rows the last repeats an earlier one."""
    if repeat_every and number % repeat_every == repeat_every - 1:
        return address(number // 2, repeat_every).replace("example.com", "EXAMPLE.com")
    return f"user{number * 7919 % 100_000_007:09d}.{number}@example.com"


def write_list(path: Path, rows: int, repeat_every: int = 0) -> None:
    """Write `rows` rows to `path`: as Parquet if its name says so, else as CSV in UTF-8 with LF line ends.

    With `repeat_every`, `rows // repeat_every` rows are duplicates.
    """
    if path.suffix == ".parquet":
        _write_parquet(path, rows, repeat_every)
        return
    with path.open("w", encoding="utf-8", newline="") as out:
        out.write("email,first_name,plan,city,note\n")
        for start in range(0, rows, ROWS_PER_WRITE):
            out.write(
                "".join(
                    f"{address(n, repeat_every)},{FIRST_NAMES[n % 11]},{PLANS[n % 4]},{CITIES[n % 7]},{NOTES[n % 3]}\n"
                    for n in range(start, min(start + ROWS_PER_WRITE, rows))
                )
            )


def _write_parquet(path: Path, rows: int, repeat_every: int) -> None:
    kinds: dict[str, pa.DataType] = dict.fromkeys(("email", "first_name", "plan", "city", "note"), pa.string())
    schema = pa.schema(kinds)
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, ROWS_PER_GROUP):
            numbers = range(start, min(start + ROWS_PER_GROUP, rows))
            columns = [
                pa.array((address(n, repeat_every) for n in numbers), pa.string()),
                pa.array((FIRST_NAMES[n % 11] for n in numbers), pa.string()),
                pa.array((PLANS[n % 4] for n in numbers), pa.string()),
                pa.array((CITIES[n % 7].strip('"') for n in numbers), pa.string()),
                pa.array((NOTES[n % 3] for n in numbers), pa.string()),
            ]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=ROWS_PER_GROUP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--format", choices=FORMATS, help="what to write (default: what the name says)")
    parser.add_argument("--repeat-every", type=int, default=0, help="every so many rows one repeats an address")
    options = parser.parse_args()
    if options.format is not None and (options.out.suffix == ".parquet") != (options.format == "parquet"):
        parser.error(f"--out must {'' if options.format == 'parquet' else 'not '}end with .parquet")
    write_list(options.out, options.rows, options.repeat_every)


if __name__ == "__main__":
    main()
