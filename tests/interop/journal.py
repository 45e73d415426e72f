"""As journal.mjs: what a program saw, a JSON object a line, and how the test leads it."""

import argparse
import asyncio
import json
import os
import sys
import threading
import time


def arguments(**more):
    parser = argparse.ArgumentParser()
    for name in ("--port", "--sessions", "--first"):
        parser.add_argument(name, type=int, default=1 if name == "--sessions" else 0)
    parser.add_argument("--patience-ms", type=int, default=10000)
    parser.add_argument("--url", default="")
    parser.add_argument("--log", required=True)
    parser.add_argument("--quiet", action="store_true")
    for name, preset in more.items():
        parser.add_argument("--" + name.replace("_", "-"), default=preset)
    values = parser.parse_args()
    global _file
    _file = os.open(values.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    return values


def log(event, session, what=""):
    line = {"at": time.monotonic_ns(), "pid": os.getpid(), "event": event, "session": str(session), "id": str(what)}
    os.write(_file, (json.dumps(line) + "\n").encode())


finishing = threading.Event()


def follow_the_test():
    """`finish` says that the faults are over; the end of standard input is the test's end."""

    def follow():
        for line in sys.stdin:
            if line.strip() == "finish":
                finishing.set()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


class Session:
    """One client: asks numbered things, and knows what is still missing. Any thread may use it."""

    def __init__(self, number):
        self.number = number
        self._asked = 0
        self._missing = set()
        self._lock = threading.Lock()

    def ask(self, kind):
        """Something is asked; the answer must come, and once. Gives its id."""
        with self._lock:
            self._asked += 1
            what = f"{kind}-{self.number}-{self._asked}"
            self._missing.add(what)
        log("ask", self.number, what)
        return what

    def answer(self, what):
        log("answer", self.number, what)
        self._found(what)

    def want(self, what):
        """Something must be pushed to us, at least once."""
        with self._lock:
            self._missing.add(what)
        log("want", self.number, what)

    def get(self, what):
        log("get", self.number, what)
        self._found(what)

    def misses(self, what):
        return what in self._missing

    def fault(self, what):
        """The library said something that it would not have said on a connection that lasts."""
        log("fault", self.number, what)

    @property
    def open(self):
        return len(self._missing)

    def _found(self, what):
        with self._lock:
            self._missing.discard(what)

    async def complete(self, seconds):
        """True when nothing is missing, false when the patience is over."""
        end = time.monotonic() + seconds
        while self._missing and time.monotonic() < end:
            await asyncio.sleep(0.01)
        return not self._missing

    async def work(self, ask_one, quiet):
        """Asks something now and then, a few at a time, until the test says `finish`."""
        log("settled", self.number)
        while not finishing.is_set():
            if not quiet and self.open < 6:
                await ask_one()
            await asyncio.sleep(0.01 + self.number % 5 / 1000)


async def run_sessions(values, run):
    """Runs the client's sessions side by side; `run(session)` is one's whole life."""
    follow_the_test()

    async def one(number):
        session = Session(number)
        try:
            await run(session)
        except Exception as error:
            session.fault(f"failed: {type(error).__name__}: {error}")
        log("done", number)

    await asyncio.gather(*(one(values.first + index) for index in range(values.sessions)))
    os._exit(0)
