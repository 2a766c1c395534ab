"""Write the table of figures anew: python -m tests.golden.update [--accept]. Without --accept, worse is refused."""

from __future__ import annotations

import sys

from tests.golden.models import CASES, available, figures_of, read_table, worse, write_table


def main() -> int:
    table, refused = read_table(), 0
    for case in filter(available, CASES):
        new = figures_of(case)
        faults = worse(table[case], new) if case in table else []
        if faults and "--accept" not in sys.argv:
            sys.stdout.write(f"{case}: {'; '.join(faults)}\n")
            refused += 1
        else:
            table[case] = new
    write_table(table)
    return int(refused > 0)


if __name__ == "__main__":
    sys.exit(main())
