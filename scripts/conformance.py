"""Hold the engine against a conformance file: python scripts/conformance.py FILE

Prints the largest difference of every entry; exits 1 where one is beyond its agreement.
"""

import sys
from pathlib import Path

from stage.errors import StageError
from stage.testing.conformance import check


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        result = check(Path(sys.argv[1]))
    except StageError as error:
        print(error, file=sys.stderr)
        return 2
    for name, (difference, limit) in result.items():
        print(f"{name:32} {difference:.2e}  at most {limit:g}  {'ok' if difference <= limit else 'BEYOND'}")
    return int(any(difference > limit for difference, limit in result.values()))


if __name__ == "__main__":
    sys.exit(main())
