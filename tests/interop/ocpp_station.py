"""A charge point on `ocpp` and `websockets`: boots once, asks whether cards are good, and answers what it is asked."""

import asyncio
import json

from ocpp.routing import on
from ocpp.v16 import ChargePoint as V16
from ocpp.v16 import call, call_result
from ocpp.v201 import ChargePoint as V201
from ocpp.v201 import call as call_201
from ocpp.v201 import call_result as call_result_201
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from journal import arguments, run_sessions

VALUES = arguments(version="1.6")


class Point:
    """What both versions share."""

    async def route_message(self, raw):
        kind, what = json.loads(raw)[:2]
        if kind in (3, 4):
            self.session.answer(what)
        if kind == 4:
            self.session.fault(f"error: {raw}")
        await super().route_message(raw)

    async def ask(self, what, make):
        try:
            await self.call(make(what), unique_id=what)
        except ConnectionClosed:
            pass  # said by the reader

    def asked(self, about):
        if about == "goodbye":
            self.session.get("goodbye")


class Point16(Point, V16):
    @on("GetConfiguration")
    def on_get_configuration(self, key, **_):
        self.asked(key[0])
        return call_result.GetConfiguration(unknown_key=key)

    def boot(self, what):
        return call.BootNotification(charge_point_model="M", charge_point_vendor=what[:20])

    def authorize(self, what):
        return call.Authorize(id_tag=what)

    def leave(self, what):
        return call.DataTransfer(vendor_id=what)


class Point201(Point, V201):
    @on("DataTransfer")
    def on_data(self, vendor_id, **_):
        self.asked(vendor_id)
        return call_result_201.DataTransfer(status="Accepted", data=vendor_id)

    def boot(self, what):
        return call_201.BootNotification(charging_station={"model": "M", "vendor_name": what}, reason="PowerUp")

    def authorize(self, what):
        return call_201.Authorize(id_token={"id_token": what, "type": "Local"})

    def leave(self, what):
        return call_201.DataTransfer(vendor_id=what)


async def read(point):
    try:
        await point.start()
    except ConnectionClosed as error:
        point.session.fault(f"closed: {error}")


async def run(session):
    kind = Point16 if VALUES.version == "1.6" else Point201
    subprotocol = f"ocpp{VALUES.version}"
    url = f"{VALUES.url}/{session.number}"
    patience = VALUES.patience_ms / 1000
    connection = await connect(url, subprotocols=[subprotocol], compression=None, open_timeout=60, ping_interval=None)
    point = kind(str(session.number), connection, response_timeout=3600)
    point.session = session
    reading = asyncio.create_task(read(point))
    tasks = set()

    async def start(kind, make):
        task = asyncio.create_task(point.ask(session.ask(kind), make))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    await start("boot", point.boot)
    await session.complete(60)
    await session.work(lambda: start("card", point.authorize), VALUES.quiet)
    await start("card", point.authorize)
    session.want("goodbye")
    await start("leave", point.leave)
    await session.complete(patience)
    await asyncio.sleep(0.1)  # what comes a second time comes soon
    for task in [*tasks, reading]:
        task.cancel()
    await connection.close()


asyncio.run(run_sessions(VALUES, run))
