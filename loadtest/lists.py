"""Write a recipient list for measurements: deterministic, so that two runs measure the same thing.

    python loadtest/lists.py --rows 1000000 --out list.csv

Columns: email, first_name, plan, city, note; about 150 bytes of data a row, every address different.
"""

from __future__ import annotations

import argparse
from pathlib import Path

FIRST_NAMES = ("Ada", "Grace", "Zoë", "Edsger", "Barbara", "Linus", "Søren", "Mary Ann", "Chidi", "Yuki", "Olga")
PLANS = ("free", "basic", "team", "enterprise")
CITIES = ("Lisbon", "Kraków", "Osaka", '"The Hague, NL"', "Nairobi", "Montréal", "Austin")
NOTES = (
    "Your workspace has been quiet this week and two invitations are still waiting for an answer from your colleagues",
    "The report that you asked for is ready and stays available for thirty days; after that it is removed for good ok",
    "Three people looked at the page since Monday and one of them left a comment that you may want to read yourself",
)
ROWS_PER_WRITE = 10_000


def write_list(path: Path, rows: int) -> None:
    """Write `rows` rows to `path`, as UTF-8 with LF line ends."""
    with path.open("w", encoding="utf-8", newline="") as out:
        out.write("email,first_name,plan,city,note\n")
        for start in range(0, rows, ROWS_PER_WRITE):
            out.write(
                "".join(
                    f"user{n * 7919 % 100_000_007:09d}.{n}@example.com,{FIRST_NAMES[n % 11]},{PLANS[n % 4]},"
                    f"{CITIES[n % 7]},{NOTES[n % 3]}\n"
                    for n in range(start, min(start + ROWS_PER_WRITE, rows))
                )
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    write_list(options.out, options.rows)


if __name__ == "__main__":
    main()
