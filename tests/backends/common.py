"""What the Python test backends share: arguments, the event log, the behaviours by path. See tests/README.md."""

import argparse
import itertools
import os
import socket
import struct
import sys
import threading
import time
from urllib.parse import parse_qsl, urlsplit


def arguments():
    """Reads `--port PORT --log FILE`, and makes this process end when its standard input does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", required=True)
    threading.Thread(target=_end_with_the_test, daemon=True).start()
    return parser.parse_args()


def _end_with_the_test():
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)


class Log:
    """The event log: one write(2) a line, so that a SIGKILL loses nothing that was written."""

    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._numbers = itertools.count(1)

    def ready(self, port):
        self.line("ready", os.getpid(), port)

    def open(self, target):
        connection = ConnectionLog(self, f"{os.getpid()}-{next(self._numbers)}")
        self.line("open", connection.name, target)
        return connection

    def line(self, event, connection, rest=""):
        os.write(self._file, f"{time.monotonic_ns()} {event} {connection} {rest}\n".encode())


class ConnectionLog:
    """The log of one connection."""

    def __init__(self, log, name):
        self._log = log
        self.name = name

    def read(self, payload):
        self._message("read", payload)

    def done(self, payload):
        self._message("done", payload)

    def close(self, code, reason):
        self._log.line("close", self.name, f"{code or 1005} {reason or ''}")

    def eof(self):
        self._log.line("eof", self.name)

    def _message(self, event, payload):
        data = payload.encode() if isinstance(payload, str) else bytes(payload)
        prefix = "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in data[:64])
        self._log.line(event, self.name, f"{len(data)} {prefix}")


class Behaviour:
    """What a connection does: `name` is the path's, `after` the messages echoed before an end."""

    ENDS = ("return", "eof", "raise", "reset", "close", "close_codeless")

    def __init__(self, target):
        url = urlsplit(target)
        query = dict(parse_qsl(url.query))
        name = url.path.strip("/")
        self.name = name if name in ("answer", "slow", "push", *self.ENDS) else "echo"
        pauses = {"slow": 1000, "answer": 0}
        self.pause = float(query.get("ms", pauses[name])) / 1000 if name in pauses else 0
        self.every = float(query.get("every_ms", 100)) / 1000
        self.bytes = int(query.get("bytes", 0))
        self.code = int(query.get("code", 1000))
        self.reason = query.get("reason", "")
        self.after = int(query.get("after", 0)) if name in self.ENDS else None

    def push(self, number):
        """What `/push` sends: `push-1` and so on, padded with dots."""
        return f"push-{number}".ljust(self.bytes, ".")

    def answer(self, message):
        """What comes back for a message."""
        if self.name != "answer":
            return message
        return "re:" + message if isinstance(message, str) else b"re:" + message


class Raised(Exception):
    """What `/raise` raises."""


def reset_on_close(transport):
    """A zero linger makes the close(2) that follows send RST."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
