"""Places of labgrid: reserved by tags, acquired for as long as a board is used, then given back.

labgrid (extra ``lab``, LGPL) is imported only here. Its coordinator keeps places and reservations; a
place has a ``NetworkService`` that says where SSH answers. Nothing else of a place is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...runtime.errors import FdikpEdgeError, TargetUnavailableError
from .plan import INSTALL, Place, make_place
from .ssh import BoardError

PORT = 20408
"""Of a coordinator that names none."""
SERVICE = "NetworkService"
POLL_S = 1.0
TALK_S = 60.0
"""The most that one talk with the coordinator may take, waiting for a place not counted."""


@contextlib.contextmanager
def acquired(
    coordinator: str, tags: Mapping[str, str], *, wait_s: float, stopped: Callable[[], bool]
) -> Iterator[Place]:
    """Reserve a place that has all tags, acquire it for the block, and give both back after it.

    Args:
        coordinator: ``HOST[:PORT]`` of labgrid's coordinator.
        tags: names and values.
        wait_s: the most to wait until such a place is free, in seconds.
        stopped: whether to wait no longer.

    Raises:
        TargetUnavailableError: labgrid is not installed.
        BoardError: no such place, or none was free in time; it has no NetworkService; the coordinator does
            not answer, or refuses.
    """
    lab = _modules()

    async def reserve(session: Any) -> tuple[tuple[str, str], Place]:
        return await _reserve(lab, session, tags, wait_s, stopped)

    held, place = _talk(lab, coordinator, reserve, wait_s)
    try:
        yield place
    finally:
        # After an error of the block, that one counts.
        with contextlib.suppress(BoardError):
            _talk(lab, coordinator, lambda session: _give_back(lab, session, held))


class _Modules:
    """Modules of labgrid."""

    def __init__(self) -> None:
        self.client = importlib.import_module("labgrid.remote.client")
        self.common = importlib.import_module("labgrid.remote.common")
        self.messages = importlib.import_module("labgrid.remote.generated.labgrid_coordinator_pb2")
        self.stubs = importlib.import_module("labgrid.remote.generated.labgrid_coordinator_pb2_grpc")
        self.grpc = importlib.import_module("grpc")


def _modules() -> _Modules:
    try:
        return _Modules()
    except ImportError as error:
        raise TargetUnavailableError(f"labgrid is not available: {error}. {INSTALL}") from error


def _talk(lab: _Modules, coordinator: str, what: Any, wait_s: float = 0.0) -> Any:
    """Connect, do one thing, and leave: places and reservations stay with the coordinator meanwhile."""
    address = coordinator if ":" in coordinator else f"{coordinator}:{PORT}"

    async def talk() -> Any:
        session = lab.client.ClientSession(address, asyncio.get_running_loop())
        # Channels of one process share a connection, by which the coordinator tells its clients apart.
        await session.channel.close()
        own = [("grpc.use_local_subchannel_pool", 1)]
        session.channel = lab.grpc.aio.insecure_channel(address, options=own)
        session.stub = lab.stubs.CoordinatorStub(session.channel)
        try:
            await session.start()
            return await what(session)
        finally:
            with contextlib.suppress(Exception):
                await session.stop()
            await session.close()

    try:
        return asyncio.run(asyncio.wait_for(talk(), TALK_S + wait_s))
    except FdikpEdgeError:
        raise
    except (asyncio.TimeoutError, TimeoutError):
        raise BoardError(f"labgrid at {address}: no answer in time") from None
    except lab.grpc.RpcError as error:
        raise BoardError(f"labgrid at {address}: {error.details()}") from error
    except (lab.client.Error, OSError) as error:
        raise BoardError(f"labgrid at {address}: {error}") from error


async def _reserve(
    lab: _Modules, session: Any, tags: Mapping[str, str], wait_s: float, stopped: Callable[[], bool]
) -> tuple[tuple[str, str], Place]:
    """Return the token of the reservation with the name of the place, and where it answers."""
    wanted = ", ".join(f"{key}={value}" for key, value in tags.items())
    named = [
        place
        for place in session.places.values()
        if tags.items() <= {**place.tags, "name": place.name}.items()
    ]
    if not named:  # a reservation of such would wait for ever
        raise BoardError(f"labgrid has no place with {wanted}")
    filters = {"main": lab.messages.Reservation.Filter(filter=dict(tags))}
    request = lab.messages.CreateReservationRequest(filters=filters, prio=0.0)
    token = (await session.stub.CreateReservation(request)).reservation.token
    acquired_name = ""
    try:
        name = await _allocated(lab, session, token, wanted, wait_s, stopped)
        await session.stub.AcquirePlace(lab.messages.AcquirePlaceRequest(placename=name))
        acquired_name = name
        await session.sync_with_coordinator()
        return (token, name), _service(session, name)
    except BaseException:
        await _give_back(lab, session, (token, acquired_name))
        raise


async def _allocated(
    lab: _Modules, session: Any, token: str, wanted: str, wait_s: float, stopped: Callable[[], bool]
) -> str:
    """Wait for a reservation, which ends if nobody asks for it, and return the place's name."""
    states, last = lab.common.ReservationState, time.monotonic() + wait_s
    while True:
        request = lab.messages.PollReservationRequest(token=token)
        reservation = (await session.stub.PollReservation(request)).reservation
        if reservation.state == states.allocated.value:
            return str(reservation.allocations["main"])
        if reservation.state != states.waiting.value:
            raise BoardError(f"labgrid: the reservation of {wanted} is {states(reservation.state).name}")
        if stopped():
            raise BoardError("stopped here")
        if time.monotonic() >= last:
            raise BoardError(f"labgrid: no place with {wanted} was free within {wait_s / 60:g} minutes")
        await asyncio.sleep(POLL_S)


def _service(session: Any, name: str) -> Place:
    for exporter, group, kind, resource in session.places[name].acquired_resources:
        if kind == SERVICE:
            told = session.resources[exporter][group][resource].params
            return make_place(f"labgrid: {name}", told.get("address"), told.get("port"), told.get("username"))
    raise BoardError(f"labgrid: place {name} has no {SERVICE}, which tells where SSH answers")


async def _give_back(lab: _Modules, session: Any, held: tuple[str, str]) -> None:
    """Release the place and end the reservation; what the coordinator has ended already is no error."""
    token, name = held
    with contextlib.suppress(lab.grpc.RpcError):
        if name:
            await session.stub.ReleasePlace(lab.messages.ReleasePlaceRequest(placename=name))
    with contextlib.suppress(lab.grpc.RpcError):
        await session.stub.CancelReservation(lab.messages.CancelReservationRequest(token=token))
