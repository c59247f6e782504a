"""`python -m samples [name…]`: train the named samples (all without a name), print where they are."""

import sys

from samples.cache import describe
from samples.recipes import NAMES


def main(names: list[str]) -> int:
    """Exit code 2 for an unknown name."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"unknown sample {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for name in names or NAMES:
        sample = describe(name)
        shown = ", ".join(f"{key} {value:.3f}" for key, value in sample.metrics.items())
        print(f"{name}: {sample.checkpoint} ({shown})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
