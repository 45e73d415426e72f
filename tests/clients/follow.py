"""Connects to a URL with a Python client that is named, sends one message, and prints what came of it as JSON."""

import argparse
import asyncio
import importlib.metadata
import json


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", choices=("websockets", "aiohttp"), required=True)
    parser.add_argument("--url", required=True)
    return parser.parse_args()


async def with_websockets(url):
    from websockets.asyncio.client import connect

    async with connect(url) as connection:
        await connection.send("hello")
        return await connection.recv()


async def with_aiohttp(url):
    import aiohttp

    async with aiohttp.ClientSession() as session, session.ws_connect(url) as connection:
        await connection.send_str("hello")
        return await connection.receive_str()


async def main():
    options = arguments()
    connect = {"websockets": with_websockets, "aiohttp": with_aiohttp}[options.library]
    outcome = {"version": importlib.metadata.version(options.library)}
    try:
        outcome["echo"] = await asyncio.wait_for(connect(options.url), 20)
    except Exception as error:  # whatever a library makes of a 307
        outcome["error"] = repr(error)
    print(json.dumps(outcome))


asyncio.run(main())
