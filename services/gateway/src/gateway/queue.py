"""Whose export is asked of the workers next: users take turns, and few requests are on the bus at a time; pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import UUID

from msgspec import Struct

from contracts.vocabulary import ExportRoute


class Waiting(Struct, frozen=True, kw_only=True):
    """A job that no worker was asked for yet; `place` counts from 1 in its user's own line, oldest first."""

    id: UUID
    user_id: UUID
    route: ExportRoute
    allowed: int
    """Jobs of this user that may be asked for at a time."""
    place: int


def choose(waiting: Sequence[Waiting], asked: Mapping[tuple[ExportRoute, UUID], int], ahead: int) -> list[UUID]:
    """The jobs to ask for now: at most `ahead` of a route are on the bus, and whoever has fewest there comes first.

    `asked` counts the jobs under way by route and user. Ties go to the job that comes first in `waiting`.
    """
    of_route: Counter[ExportRoute] = Counter()
    of_user: Counter[UUID] = Counter()
    own: Counter[tuple[ExportRoute, UUID]] = Counter(asked)
    for (route, user_id), count in asked.items():
        of_route[route] += count
        of_user[user_id] += count
    chosen: list[UUID] = []
    left = sorted(waiting, key=lambda job: job.place)
    while True:
        able = [job for job in left if of_route[job.route] < ahead and of_user[job.user_id] < job.allowed]
        if not able:
            return chosen
        turn = min(able, key=lambda job: own[(job.route, job.user_id)])
        left.remove(turn)
        chosen.append(turn.id)
        of_route[turn.route] += 1
        of_user[turn.user_id] += 1
        own[(turn.route, turn.user_id)] += 1
