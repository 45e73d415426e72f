"""Test clients on Python `websockets`, several in a process: each sends numbered messages at a rate, waits for the echo
of everything, closes with 1000. The transcript goes to standard output, a JSON object a line, when all have ended."""

import argparse
import asyncio
import json
import os
import sys
import threading
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

LINES = []


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    for name in ("--first-client", "--clients", "--rate", "--messages", "--settle-ms"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--compressed", action="store_true")
    return parser.parse_args()


OPTIONS = arguments()
PADDING = ":" + " and so on" * 20 if OPTIONS.compressed else ""


def record(client, event, **more):
    LINES.append({"at": time.monotonic_ns(), "client": client, "event": event, **more})


async def run(client):
    try:
        compression = "deflate" if OPTIONS.compressed else None
        connection = await connect(OPTIONS.url, max_size=None, compression=compression, ping_interval=None)
    except (OSError, InvalidHandshake) as error:
        record(client, "end", by="lost", error=f"not connected: {error}")
        return
    if OPTIONS.compressed and not connection.protocol.extensions:
        record(client, "end", by="lost", error="no compression was agreed on")
        return
    all_echoed = asyncio.Event()
    reading = asyncio.create_task(read(connection, client, all_echoed))
    closed = await write(connection, client, all_echoed, reading)
    await connection.wait_closed()
    await reading
    received = connection.protocol.close_rcvd
    if closed and (received is None or received.code == 1000):
        record(client, "end", by="client")
    elif received is None:
        record(client, "end", by="lost", error="end of stream")
    else:
        record(client, "end", by="peer", code=received.code, reason=received.reason)


async def write(connection, client, all_echoed, reading):
    """True when the connection was still open to be closed by us."""
    # Clients are spread over the time between two messages, so that a fault meets each at another moment of its work.
    start = time.monotonic() + client * 37 % 100 / 100 / OPTIONS.rate
    try:
        for number in range(1, OPTIONS.messages + 1):
            await asyncio.sleep(start + (number - 1) / OPTIONS.rate - time.monotonic())
            message = f"c{client}-{number}{PADDING}"
            record(client, "sent", text=message)
            await connection.send(message)
    except ConnectionClosed:
        return False
    echoes = asyncio.create_task(all_echoed.wait())
    await asyncio.wait((echoes, reading), timeout=OPTIONS.settle_ms / 1000, return_when=asyncio.FIRST_COMPLETED)
    echoes.cancel()
    still_open = not reading.done()
    await connection.close(1000)
    return still_open


async def read(connection, client, all_echoed):
    echoed = set()
    try:
        while True:
            message = await connection.recv()
            text = message if isinstance(message, str) else message.decode(errors="replace")
            record(client, "got", text=text[:64], binary=not isinstance(message, str), len=len(message))
            echoed.add(text)
            if len(echoed) == OPTIONS.messages:
                all_echoed.set()
    except ConnectionClosed:
        pass


def end_with_the_test():
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)


async def main():
    threading.Thread(target=end_with_the_test, daemon=True).start()
    await asyncio.gather(*(run(OPTIONS.first_client + index) for index in range(OPTIONS.clients)))
    sys.stdout.write("".join(json.dumps(line) + "\n" for line in LINES))


asyncio.run(main())
