"""Alarms of the signer reach the outbox and the audit log once each, whichever hub carries them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from asepsis.core.errors import NotAuthenticated
from asepsis.core.trust.requests import TokenProof
from asepsis.hub.audit import log
from asepsis.hub.registry.alarms import SignerAlarms
from asepsis.hub.store.outbox import EventReader, pending


def carrier(hospital: Any, holder: str) -> SignerAlarms:
    return SignerAlarms(hospital.store, hospital.signer, audit=hospital.audit, holder=holder)


def carried(hospital: Any) -> list[str]:
    with hospital.store.reading() as connection:
        found = [EventReader().read(body) for _, body in pending(connection, events_max=99)]
        assert log.check(connection) >= len(found)
    return [event.data["code"] for event in found if event.topic == "alarm.technical"]


def test_each_alarm_is_carried_once(
    hospital: Any, new_machine: Any, second_hub: Callable[[], Any], clock: Any
) -> None:
    async def refused() -> None:
        with pytest.raises(NotAuthenticated):
            await hospital.issue_der(new_machine(), TokenProof(id="0" * 16, secret="x"))

    async def scenario() -> None:
        one, two = carrier(hospital, "a"), carrier(second_hub(), "b")
        await refused()
        await asyncio.gather(one.task.step(), two.task.step())
        assert carried(hospital) == ["token-refused"]
        clock.advance_s(120)
        await refused()
        await asyncio.gather(one.task.step(), two.task.step())
        assert carried(hospital) == ["token-refused"] * 2

    asyncio.run(scenario())


def test_the_carrier_runs_by_itself(hospital: Any, new_machine: Any) -> None:
    async def scenario() -> None:
        with pytest.raises(NotAuthenticated):
            await hospital.issue_der(new_machine(), TokenProof(id="0" * 16, secret="x"))
        running = asyncio.create_task(carrier(hospital, "a").run())
        async with asyncio.timeout(5):
            while not carried(hospital):  # noqa: ASYNC110 - looks into the database
                await asyncio.sleep(0.05)
        running.cancel()

    asyncio.run(scenario())
