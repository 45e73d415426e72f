"""The compressing echo client that Autobahn's server tries: it asks how many cases there are, runs each, so many at a
time, and says when all are done."""

import argparse
import asyncio
import os
import threading

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--parallel", type=int, required=True)
    return parser.parse_args()


OPTIONS = arguments()


async def echo(path):
    """Sends back what comes until the connection's end, whatever that is."""
    try:
        async with connect(OPTIONS.url + path, max_size=None, ping_interval=None) as connection:
            async for message in connection:
                await connection.send(message)
    except (ConnectionClosed, InvalidHandshake):
        pass


async def run_each(cases):
    for case in cases:
        await echo(f"/runCase?case={case}&agent=echo")


async def main():
    async with connect(OPTIONS.url + "/getCaseCount", ping_interval=None) as connection:
        count = int(await connection.recv())
    cases = iter(range(1, count + 1))
    await asyncio.gather(*(run_each(cases) for _ in range(OPTIONS.parallel)))
    await echo("/updateReports?agent=echo")


def end_with_the_test():
    while os.read(0, 4096):
        pass
    os._exit(1)


threading.Thread(target=end_with_the_test, daemon=True).start()
asyncio.run(main())
