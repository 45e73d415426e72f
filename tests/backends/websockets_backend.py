"""Test backend on `websockets`. The library reads ahead of the handler and answers pings before it."""

import asyncio
import itertools
import signal

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from common import Behaviour, Log, Raised, arguments, reset_on_close

OPTIONS = arguments()
LOG = Log(OPTIONS.log)


async def handle(connection):
    log = LOG.open(connection.request.path)
    behaviour = Behaviour(connection.request.path)
    try:
        await behave(connection, behaviour, log)
    except ConnectionClosed:
        pass
    finally:
        # Logged when the connection has ended, which a handler that returns or raises brings about only after it.
        asyncio.get_running_loop().create_task(log_end(connection, log))


async def behave(connection, behaviour, log):
    if behaviour.name == "push":
        for number in itertools.count(1):
            await connection.send(behaviour.push(number))
            await asyncio.sleep(behaviour.every)
    handled = 0
    while handled != behaviour.after:
        message = await connection.recv()
        log.read(message)
        if behaviour.pause:
            await asyncio.sleep(behaviour.pause)
        try:
            await connection.send(behaviour.answer(message))
        except ConnectionClosed:
            pass  # not yet the end: what the client sent before may still be there to read
        log.done(message)
        handled += 1
    await end(connection, behaviour)


async def end(connection, behaviour):
    if behaviour.name == "raise":
        raise Raised
    if behaviour.name == "eof":
        connection.transport.close()
    elif behaviour.name == "reset":
        await connection.send("before-reset")
        reset_on_close(connection.transport)
        connection.transport.abort()
    elif behaviour.name == "close":
        await connection.close(behaviour.code, behaviour.reason)
    elif behaviour.name == "close_codeless":
        # The public close() always sends a code.
        async with connection.send_context(expected_state=connection.protocol.state):
            connection.protocol.send_close()
        await connection.wait_closed()


async def log_end(connection, log):
    await connection.wait_closed()
    received = connection.protocol.close_rcvd
    log.eof() if received is None else log.close(received.code, received.reason)


async def main():
    # It compresses for clients that offer it.
    options = {"max_size": None, "ping_interval": None}
    async with serve(handle, "127.0.0.1", OPTIONS.port, **options) as server:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.close)
        LOG.ready(OPTIONS.port)
        await server.wait_closed()


asyncio.run(main())
