"""Test backend on uvicorn and Starlette. The server reads ahead of the handler and answers pings before it.

ASGI gives a handler no connection to cut: `/eof`, `/reset` and `/close_codeless` echo.
"""

import asyncio
import itertools

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from common import Behaviour, Log, Raised, arguments

OPTIONS = arguments()
LOG = Log(OPTIONS.log)


async def handle(ws):
    target = ws.url.path + (f"?{ws.url.query}" if ws.url.query else "")
    await ws.accept()
    log = LOG.open(target)
    behaviour = Behaviour(target)
    try:
        await behave(ws, behaviour, log)
    except WebSocketDisconnect as ended:
        log.eof() if ended.code == 1006 else log.close(ended.code, ended.reason)


async def behave(ws, behaviour, log):
    if behaviour.name == "push":
        for number in itertools.count(1):
            await ws.send_text(f"push-{number}")
            await asyncio.sleep(behaviour.every)
    handled = 0
    while handled != behaviour.after or behaviour.name in ("eof", "reset", "close_codeless"):
        await echo_one(ws, behaviour, log)
        handled += 1
    if behaviour.name == "raise":
        raise Raised
    if behaviour.name == "close":
        await ws.close(behaviour.code, behaviour.reason)


async def echo_one(ws, behaviour, log):
    received = await ws.receive()
    if received["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(received["code"], received.get("reason"))
    text = received.get("text")
    message = received["bytes"] if text is None else text
    log.read(message)
    if behaviour.pause:
        await asyncio.sleep(behaviour.pause)
    answer = behaviour.answer(message)
    try:
        await (ws.send_bytes(answer) if text is None else ws.send_text(answer))
    except WebSocketDisconnect:
        pass  # not yet the end: what the client sent before may still be there to read
    log.done(message)


class Server(uvicorn.Server):
    """Says when it accepts connections."""

    async def startup(self, sockets=None):
        await super().startup(sockets)
        LOG.ready(OPTIONS.port)


app = Starlette(routes=[WebSocketRoute("/{path:path}", handle)])
Server(
    uvicorn.Config(
        app,
        host="127.0.0.1",
        port=OPTIONS.port,
        backlog=1024,
        access_log=False,
        lifespan="off",
        log_level="warning",
        timeout_graceful_shutdown=2,
        ws_max_size=64 << 20,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
    )
).run()
