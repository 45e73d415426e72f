"""Test backend on aiohttp. Pings are answered while the handler reads, so after the handler of what came before."""

import asyncio
import itertools
import signal
import weakref

from aiohttp import WSCloseCode, WSMsgType, web

from common import Behaviour, Log, Raised, arguments, reset_on_close

OPTIONS = arguments()
LOG = Log(OPTIONS.log)
SOCKETS = weakref.WeakSet()


async def handle(request):
    ws = web.WebSocketResponse(max_msg_size=0)  # it compresses for clients that offer it
    await ws.prepare(request)
    SOCKETS.add(ws)
    log = LOG.open(request.path_qs)
    behaviour = Behaviour(request.path_qs)
    if behaviour.name == "push":
        for number in itertools.count(1):
            await ws.send_str(behaviour.push(number))
            await asyncio.sleep(behaviour.every)
    handled = 0
    while handled != behaviour.after:
        if not await echo_one(ws, behaviour, log):
            return ws
        handled += 1
    await end(request, ws, behaviour, log)
    return ws


async def echo_one(ws, behaviour, log):
    message = await ws.receive()
    if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
        log_end(ws, message, log)
        return False
    log.read(message.data)
    if behaviour.pause:
        await asyncio.sleep(behaviour.pause)
    send = ws.send_str if message.type == WSMsgType.TEXT else ws.send_bytes
    try:
        await send(behaviour.answer(message.data))
    except ConnectionError:
        pass  # not yet the end: what the client sent before may still be there to read
    log.done(message.data)
    return True


def log_end(ws, message, log):
    if message.type == WSMsgType.CLOSE:
        log.close(message.data, message.extra)
    else:
        log.eof()


async def end(request, ws, behaviour, log):
    if behaviour.name == "raise":
        raise Raised
    if behaviour.name == "return":
        return
    if behaviour.name == "eof":
        request.transport.close()
    elif behaviour.name == "reset":
        await ws.send_str("before-reset")
        reset_on_close(request.transport)
        request.transport.abort()
    elif behaviour.name == "close_codeless":
        # The public close() always sends a code.
        await ws._writer.send_frame(b"", WSMsgType.CLOSE)
        log_end(ws, await ws.receive(), log)
    else:
        await ws.close(code=behaviour.code, message=behaviour.reason.encode())
        log.close(ws.close_code, "") if ws.close_code != WSCloseCode.ABNORMAL_CLOSURE else log.eof()


async def close_all(_app):
    """The shutdown that aiohttp's documentation shows."""
    for ws in set(SOCKETS):
        await ws.close(code=WSCloseCode.GOING_AWAY, message=b"Server shutdown")


async def main():
    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    app.on_shutdown.append(close_all)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", OPTIONS.port, backlog=1024).start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    LOG.ready(OPTIONS.port)
    await stop.wait()
    await runner.cleanup()


asyncio.run(main())
