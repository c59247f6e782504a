"""What all users share: bounded together, and no user can take it away from the others."""

from contextlib import ExitStack
from uuid import UUID, uuid4

import pytest

from contracts.errors import Transient
from inference_proxy.room import Room

ONE, OTHER = UUID(int=1), UUID(int=2)


def test_one_user_leaves_room_for_others() -> None:
    room = Room(total=8, share=2)
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(room.hold(ONE, 1))
        with pytest.raises(Transient) as caught:
            held.enter_context(room.hold(ONE, 1))
        assert (caught.value.code, caught.value.headers) == ("unavailable", {"Retry-After": "1"})
        held.enter_context(room.hold(OTHER, 1))


def test_all_users_together_stay_below_the_total() -> None:
    room = Room(total=8, share=2)
    with ExitStack() as held:
        for _ in range(8):
            held.enter_context(room.hold(uuid4(), 1))
        with pytest.raises(Transient):
            held.enter_context(room.hold(uuid4(), 1))


def test_one_large_request_alone_may_exceed_the_share() -> None:
    room = Room(total=8, share=2)
    with room.hold(ONE, 5), pytest.raises(Transient), room.hold(ONE, 1):
        raise AssertionError("there is no room")


def test_what_was_held_is_given_back_also_after_an_error() -> None:
    room = Room(total=2, share=2)
    for _ in range(5):
        with pytest.raises(KeyError), room.hold(ONE, 2):
            raise KeyError
    with room.hold(ONE, 2):
        pass
