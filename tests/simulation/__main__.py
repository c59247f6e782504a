"""`python -m tests.simulation 1234`: play one seed and print its story, or with `--to` many of them."""

import argparse
import sys

from .story import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--to", type=int, help="play all seeds up to this one, print only those that break a promise")
    asked = parser.parse_args()
    if asked.to is None:
        outcome = run(asked.seed)
        print(*outcome.story, sep="\n")
        print(f"seed {asked.seed}: {outcome.broken or 'every promise was kept'}")
        return int(bool(outcome.broken))
    broken = [outcome for outcome in map(run, range(asked.seed, asked.to)) if outcome.broken]
    for outcome in broken:
        print(f"seed {outcome.seed}: {outcome.broken}")
    print(f"{asked.to - asked.seed} seeds, {len(broken)} broken")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
