"""What other jobs see of one that kills workers: how long they take while it is being tried, against how long they take alone."""

import time

import pytest

from tests.integration.linked import proof

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.timeout(900)]


def seconds(someone, training, is_enough):
    """How long jobs take, one after the other, until it is enough of them; all must come to their packages."""
    taken = []
    while not is_enough(len(taken)):
        began = time.monotonic()
        proof.completed(someone, proof.request(someone, training))
        taken.append(time.monotonic() - began)
    return taken


def p95(values):
    return sorted(values)[int(0.95 * (len(values) - 1))]


def test_how_long_others_take_beside_poison(someone, training_of, tmp_path, figure, trials):
    """A measurement: a worker that dies takes with it what it runs, which begins again when the lease is over."""
    training, count, poisons = training_of(), trials(2, 20), trials(1, 5)
    flag = tmp_path / "poisonous"
    flag.touch()
    alone = seconds(someone, training, lambda made: made >= count)
    beside = []
    for _ in range(poisons):
        poison = proof.request(someone, training_of(kills_its_worker_while=str(flag)))

        def is_over(made, poison=poison):
            return made > 0 and someone.client.exports.get(poison.id).status == "failed"

        beside += seconds(someone, training, is_over)
    told = f"{p95(beside):.1f} s, alone {p95(alone):.1f} s, ratio {p95(beside) / p95(alone):.1f}"
    figure("p95 of other jobs while a poisonous one is tried", trials=len(beside), measured=told, promised="measured")
