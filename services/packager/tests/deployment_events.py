"""What tests of deployments say to a packager and hear from it."""

import msgspec

from contracts.events import DeploymentActivatedV1
from contracts.subjects import base_subject
from contracts.vocabulary import DesiredState
from packager.app import DEPLOYMENTS
from servicekit.testing import eventually


def again(request, generation, desired=DesiredState.ACTIVE):
    return msgspec.structs.replace(request, generation=generation, desired=desired)


async def state(bus, *requests, publication=1):
    for request in requests:
        sequence = f"{request.generation}.{publication}"
        await bus.publish(request, subject_id=request.deployment_id, sequence=sequence)


async def told(bus, kind):
    """Every fact of a kind on the bus with the id of its event."""
    found = []
    info = await bus.jetstream.stream_info("DEPLOYMENT")
    for sequence in range(info.state.first_seq, info.state.last_seq + 1):
        message = await bus.jetstream.get_msg("DEPLOYMENT", seq=sequence)
        if message.subject == base_subject(kind):
            found.append((msgspec.json.decode(message.data, type=kind), message.headers["ce-id"]))
    return found


async def settled(bus):
    info = await bus.jetstream.consumer_info("DEPLOYMENT", DEPLOYMENTS)
    return info.num_pending == 0 and info.num_ack_pending == 0


async def the_fact(bus, kind=DeploymentActivatedV1):
    await eventually(lambda: settled(bus))
    ((fact, _),) = await told(bus, kind)
    return fact


def bytes_of(store, fact):
    return store.get_bytes(fact.package.key, 1 << 28)


async def told_any(bus, kind):
    return bool(await told(bus, kind))


async def told_count(bus, kind, count):
    return len(await told(bus, kind)) == count
