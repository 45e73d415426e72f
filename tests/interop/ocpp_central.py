"""A central system on `ocpp` and `websockets`: who has not booted on this connection may do nothing else; it has the charge
points that have booted read their configuration out, over and over."""

import asyncio
import itertools
import json
import os

from ocpp.exceptions import SecurityError
from ocpp.routing import on
from ocpp.v16 import ChargePoint as V16
from ocpp.v16 import call, call_result
from ocpp.v201 import ChargePoint as V201
from ocpp.v201 import call as call_201
from ocpp.v201 import call_result as call_result_201
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from journal import arguments, follow_the_test, log

NOW = "2026-01-01T00:00:00Z"
CONNECTIONS = itertools.count(1)


class Station:
    """What both versions share."""

    def begin(self, connection):
        self.name = f"{os.getpid()}-{next(CONNECTIONS)}"
        self.booted = asyncio.Event()
        self.leaving = False
        self.waiting_for = None
        log("open", self.name, connection.request.path)

    async def route_message(self, raw):
        kind, what = json.loads(raw)[:2]
        if kind in (3, 4):
            log("answer" if what == self.waiting_for else "stray", self.name, what)
            self.waiting_for = None
        await super().route_message(raw)

    def boot(self):
        log("login", self.name)
        self.booted.set()

    def only_if_booted(self):
        if not self.booted.is_set():
            raise SecurityError("not booted on this connection")

    async def ask_on(self):
        """Calls, one after the other, until the station says that it leaves; then one that says goodbye."""
        await self.booted.wait()
        for number in itertools.count(1):
            leaving = self.leaving
            self.waiting_for = f"{self.name}/{number}"
            log("ask", self.name, self.waiting_for)
            await self.call(self.question("goodbye" if leaving else "ocpp"), unique_id=self.waiting_for)
            if leaving:
                return
            await asyncio.sleep(0.02)


class Central16(Station, V16):
    @on("BootNotification")
    def on_boot(self, **_):
        self.boot()
        return call_result.BootNotification(current_time=NOW, interval=300, status="Accepted")

    @on("Authorize")
    async def on_authorize(self, id_tag):
        self.only_if_booted()
        await asyncio.sleep(0.005)
        log("did", self.name, id_tag)
        return call_result.Authorize(id_tag_info={"status": "Accepted"})

    @on("DataTransfer")
    def on_data(self, vendor_id, **_):
        self.leaving = True
        return call_result.DataTransfer(status="Accepted")

    def question(self, about):
        return call.GetConfiguration(key=[about])


class Central201(Station, V201):
    @on("BootNotification")
    def on_boot(self, **_):
        self.boot()
        return call_result_201.BootNotification(current_time=NOW, interval=300, status="Accepted")

    @on("Authorize")
    async def on_authorize(self, id_token, **_):
        self.only_if_booted()
        await asyncio.sleep(0.005)
        log("did", self.name, id_token["id_token"])
        return call_result_201.Authorize(id_token_info={"status": "Accepted"})

    @on("DataTransfer")
    def on_data(self, vendor_id, **_):
        self.leaving = True
        return call_result_201.DataTransfer(status="Accepted")

    def question(self, about):
        return call_201.DataTransfer(vendor_id=about)


async def attend(connection):
    kind = Central16 if connection.subprotocol == "ocpp1.6" else Central201
    station = kind(connection.request.path, connection, response_timeout=30)
    station.begin(connection)
    asking = asyncio.create_task(station.ask_on())
    try:
        await station.start()
    except ConnectionClosed:
        pass
    finally:
        asking.cancel()
        log("close", station.name, connection.close_code)


async def main():
    values = arguments()
    follow_the_test()
    async with serve(attend, "127.0.0.1", values.port, subprotocols=["ocpp1.6", "ocpp2.0.1"], compression=None):
        log("ready", "", values.port)
        await asyncio.Future()


asyncio.run(main())
