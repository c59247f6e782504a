"""Users take turns; nobody has more under way than the tier allows, and few requests are on the bus at a time."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from contracts.vocabulary import ExportRoute
from gateway.queue import Waiting, choose

ANNA, BERT, CARL = (UUID(int=number) for number in range(1, 4))
ONNX, TORCHSCRIPT = ExportRoute.ONNX, ExportRoute.TORCHSCRIPT


def line(*users: UUID, allowed: int = 100, route: ExportRoute = ONNX) -> list[Waiting]:
    return [
        Waiting(
            id=UUID(int=100 + index),
            user_id=user,
            route=route,
            allowed=allowed,
            place=users[: index + 1].count(user),
        )
        for index, user in enumerate(users)
    ]


def owners(waiting: list[Waiting], chosen: list[UUID]) -> list[UUID]:
    by_id = {job.id: job.user_id for job in waiting}
    return [by_id[job_id] for job_id in chosen]


def test_users_take_turns_however_many_jobs_one_of_them_has() -> None:
    waiting = line(ANNA, ANNA, ANNA, ANNA, BERT, CARL, BERT)
    assert owners(waiting, choose(waiting, {}, 5)) == [ANNA, BERT, CARL, ANNA, BERT]


def test_whoever_has_fewest_under_way_comes_first() -> None:
    waiting = line(ANNA, ANNA, BERT)
    assert owners(waiting, choose(waiting, {(ONNX, ANNA): 3}, 4)) == [BERT]


def test_a_full_bus_takes_no_more() -> None:
    assert choose(line(ANNA), {(ONNX, BERT): 16}, 16) == []


def test_a_format_that_nobody_makes_holds_up_no_other() -> None:
    waiting = line(ANNA, route=ONNX)
    assert choose(waiting, {(TORCHSCRIPT, ANNA): 16}, 16) == [waiting[0].id]


@given(st.lists(st.sampled_from([ANNA, BERT, CARL]), max_size=20), st.integers(1, 8), st.integers(1, 4))
def test_limits_hold_and_nothing_waits_without_need(users: list[UUID], ahead: int, allowed: int) -> None:
    waiting = line(*users, allowed=allowed)
    chosen = owners(waiting, choose(waiting, {}, ahead))
    assert len(chosen) <= ahead
    assert all(chosen.count(user) <= allowed for user in chosen)
    assert len(chosen) == min(ahead, sum(min(users.count(user), allowed) for user in set(users)))
