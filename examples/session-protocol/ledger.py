"""Does each message exactly once, and answers it exactly once, wherever it or Tideover's other backends are killed.

A message is an amount; its answer is the session's new total. Needs `websockets`.
    tideover serve --ack explicit --backend ws://127.0.0.1:9001 --backend ws://127.0.0.1:9002
    python ledger.py 9001 ledger.db & python ledger.py 9002 ledger.db &
"""

import asyncio
import sqlite3
import sys

from websockets.asyncio.server import serve

PORT, PATH = int(sys.argv[1]), sys.argv[2]
# A killed process keeps what it committed; to keep it through a power cut as well, leave `synchronous` at FULL.
db = sqlite3.connect(PATH, timeout=10, isolation_level=None)
db.executescript("""
    PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, epoch INT, done INT, total INT);
    CREATE TABLE IF NOT EXISTS answer (session TEXT, number INT, text TEXT, PRIMARY KEY (session, number));
    CREATE TABLE IF NOT EXISTS ledger (session TEXT, seq INT, amount INT);
""")


def attach(session, epoch, delivered):
    """Fences older legs off; gives the answers that the client has not been given, or None if a newer leg is there."""
    with db:
        db.execute("BEGIN IMMEDIATE")  # the write lock first: nobody comes between our look and our work
        db.execute("INSERT OR IGNORE INTO session VALUES (?, 0, 0, 0)", (session,))
        if db.execute("UPDATE session SET epoch = ?1 WHERE id = ?2 AND epoch <= ?1", (epoch, session)).rowcount == 0:
            return None
        db.execute("DELETE FROM answer WHERE session = ? AND number <= ?", (session, delivered))
        return db.execute("SELECT text FROM answer WHERE session = ? ORDER BY number", (session,)).fetchall()


def work(session, epoch, seq, amount):
    """Work, progress and answer in one transaction. None if it was done already: attach() gave that answer."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        newest, done, total = db.execute("SELECT epoch, done, total FROM session WHERE id = ?", (session,)).fetchone()
        if newest != epoch:
            raise RuntimeError("the session is on a newer leg: this one must change nothing more")
        if seq <= done:
            return None
        db.execute("INSERT INTO ledger VALUES (?, ?, ?)", (session, seq, amount))
        db.execute("UPDATE session SET done = ?, total = ? WHERE id = ?", (seq, total + amount, session))
        # One answer a message, so the answer's number is the message's. Otherwise count the answers in `session`.
        db.execute("INSERT INTO answer VALUES (?, ?, ?)", (session, seq, str(total + amount)))
        return str(total + amount)


def refuse_or_attach(ws, request):
    said = request.headers  # docs/session-protocol.md: how to verify the signature, and when Next-Seq is left out
    session, epoch, seq = said["Tideover-Session"], int(said["Tideover-Epoch"]), int(said.get("Tideover-Next-Seq", 0))
    ws.leg = session, epoch, seq, attach(session, epoch, int(said["Tideover-Delivered"])) if seq else []
    return ws.respond(409, "the session is on a newer leg\n") if ws.leg[3] is None else None


async def handle(ws):
    session, epoch, seq, unseen = ws.leg
    for (text,) in unseen:
        await ws.send(text)
    async for message in ws:
        if (answer := work(session, epoch, seq, int(message))) is not None:
            await ws.send(answer)
        await ws.pong(f"tideover:ack:{seq}".encode())  # cumulative: every hundredth would do as well
        seq += 1


def opt_in(_ws, _request, response):
    response.headers["Tideover-Ack"] = "explicit"


async def main():
    async with serve(handle, "127.0.0.1", PORT, process_request=refuse_or_attach, process_response=opt_in) as server:
        await server.serve_forever()


asyncio.run(main())
