"""Test backend on Tornado. It reads the next frame, pings too, when the handler of the one before has finished."""

import asyncio
import itertools
import signal

from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from common import Behaviour, Log, Raised, arguments, reset_on_close

OPTIONS = arguments()
LOG = Log(OPTIONS.log)


class Handler(WebSocketHandler):
    """One connection."""

    async def open(self, *_):
        self.set_nodelay(True)
        self.log = LOG.open(self.request.uri)
        self.behaviour = Behaviour(self.request.uri)
        self.handled = 0
        if self.behaviour.name == "push":
            await self.push()
        if self.behaviour.after == 0:
            await self.end()

    async def push(self):
        """Nothing is read before open() has returned, so never."""
        for number in itertools.count(1):
            await self.write_message(self.behaviour.push(number))
            await asyncio.sleep(self.behaviour.every)

    async def on_message(self, message):
        self.log.read(message)
        if self.behaviour.pause:
            await asyncio.sleep(self.behaviour.pause)
        try:
            await self.write_message(self.behaviour.answer(message), binary=isinstance(message, bytes))
        except WebSocketClosedError:
            pass  # not yet the end: what the client sent before may still be there to read
        self.log.done(message)
        self.handled += 1
        if self.handled == self.behaviour.after:
            await self.end()

    async def end(self):
        name = self.behaviour.name
        if name == "raise":
            raise Raised
        if name == "eof":
            self.ws_connection.stream.close()
        elif name == "reset":
            await self.write_message("before-reset")
            reset_on_close(_Transport(self.ws_connection.stream.socket))
            self.ws_connection.stream.close()
        elif name == "close_codeless":
            self.close()
        elif name == "close":
            self.close(self.behaviour.code, self.behaviour.reason)

    def on_close(self):
        # Tornado does not tell a Close without a code from the end of the stream.
        if self.close_code is None:
            self.log.eof()
        else:
            self.log.close(self.close_code, self.close_reason)


class _Transport:
    """Gives a Tornado stream's socket the way an asyncio transport does."""

    def __init__(self, socket):
        self._socket = socket

    def get_extra_info(self, _name):
        return self._socket


async def main():
    app = Application([("/.*", Handler)], websocket_max_message_size=64 << 20)
    app.settings["log_function"] = lambda _handler: None
    app.listen(OPTIONS.port, address="127.0.0.1", max_buffer_size=128 << 20)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    LOG.ready(OPTIONS.port)
    # What Tornado's documentation shows: the process ends, and its connections with it.
    await stop.wait()


asyncio.run(main())
