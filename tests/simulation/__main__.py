"""`python -m tests.simulation 1234`: play one seed and print its story, or with `--to` many of them."""

import argparse
import sys

from .mutations import MUTATIONS
from .story import run


def main() -> int:
    """Exit code 1 where a promise was broken; with `--to` a line for each such seed, with `--broken` for the first."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--to", type=int, help="play all seeds up to this one, print only those that break a promise")
    parser.add_argument(
        "--broken", choices=MUTATIONS, help="with this defect in the code, up to the first seed that shows it"
    )
    asked = parser.parse_args()
    mutation = (MUTATIONS[asked.broken],) if asked.broken else ()
    if asked.to is None:
        outcome = run(asked.seed, *mutation)
        print(*outcome.story, sep="\n")
        print(f"seed {asked.seed}: {outcome.broken or 'every promise was kept'}")
        return int(bool(outcome.broken))
    broken = 0
    for seed in range(asked.seed, asked.to):
        if told := run(seed, *mutation).broken:
            print(f"seed {seed}: {told}")
            broken += 1
            if mutation:
                break
    print(f"{broken} broken")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
