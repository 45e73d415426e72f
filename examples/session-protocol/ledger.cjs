// Does each message exactly once, and answers it exactly once, wherever it or Tideover's other backends are killed.
//
//     tideover serve --ack explicit --backend ws://127.0.0.1:9001 --backend ws://127.0.0.1:9002
//     node ledger.cjs 9001 ledger.db & node ledger.cjs 9002 ledger.db &
//
// A message is an amount; its answer is the session's new total. Needs `ws` and `libsql`, which is SQLite with
// better-sqlite3's interface and needs no compiler; either can stand here.

const Database = require("libsql");
const { WebSocketServer } = require("ws");

const [port, path] = process.argv.slice(2);
const db = new Database(path, { timeout: 10_000 });
// A killed process keeps what it committed; to keep it through a power cut as well, leave `synchronous` at FULL.
db.exec(`
  PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
  CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, epoch INT, done INT, total INT);
  CREATE TABLE IF NOT EXISTS answer (session TEXT, number INT, text TEXT, PRIMARY KEY (session, number));
  CREATE TABLE IF NOT EXISTS ledger (session TEXT, seq INT, amount INT);
`);
const create = db.prepare("INSERT OR IGNORE INTO session VALUES (?, 0, 0, 0)");
const fence = db.prepare("UPDATE session SET epoch = ? WHERE id = ? AND epoch <= ?");
const forget = db.prepare("DELETE FROM answer WHERE session = ? AND number <= ?");
const unseen = db.prepare("SELECT text FROM answer WHERE session = ? ORDER BY number");
const look = db.prepare("SELECT epoch, done, total FROM session WHERE id = ?");
const book = db.prepare("INSERT INTO ledger VALUES (?, ?, ?)");
const advance = db.prepare("UPDATE session SET done = ?, total = ? WHERE id = ?");
const keep = db.prepare("INSERT INTO answer VALUES (?, ?, ?)");

/** Immediate: the write lock first, so that nobody attaches between our look and our work. */
const transaction = (body) => db.transaction(body).immediate;

/** Fences older legs off; gives the answers that the client has not been given, or null if a newer leg is there. */
const attach = transaction((session, epoch, delivered) => {
  create.run(session);
  if (fence.run(epoch, session, epoch).changes === 0) return null;
  forget.run(session, delivered);
  return unseen.all(session).map((row) => row.text);
});

/** Work, progress and answer in one transaction. */
const work = transaction((session, epoch, seq, amount) => {
  const { epoch: newest, done, total } = look.get(session);
  if (newest !== epoch) return { fenced: true };
  if (seq <= done) return {}; // attach() gave its answer
  book.run(session, seq, amount);
  advance.run(seq, total + amount, session);
  // One answer a message, so the answer's number is the message's. Otherwise count the answers in `session`.
  keep.run(session, seq, String(total + amount));
  return { answer: String(total + amount) };
});

function refuseOrAttach({ req: request }, verdict) {
  const field = (name) => request.headers[`tideover-${name}`]; // docs/session-protocol.md: verify the signature
  const leg = { session: field("session"), epoch: Number(field("epoch")), seq: Number(field("next-seq") ?? 0) };
  // Without Next-Seq a migration asks whether we opt in, while the older leg goes on: that one is not to be fenced off.
  const unseen = leg.seq === 0 ? [] : attach(leg.session, leg.epoch, Number(field("delivered")));
  request.leg = { ...leg, unseen };
  verdict(request.leg.unseen !== null, 409, "the session is on a newer leg");
}

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port), verifyClient: refuseOrAttach });
// `ws` could send Pongs too (`explicit`). Acknowledging by messages is for frameworks that cannot.
server.on("headers", (headers) => headers.push("Tideover-Ack: message"));
server.on("connection", (ws, { leg }) => {
  for (const text of leg.unseen) ws.send(text);
  ws.on("error", () => {}); // "close" follows
  ws.on("message", (data) => {
    const { fenced, answer } = work(leg.session, leg.epoch, leg.seq, Number(data));
    if (fenced) return ws.terminate(); // the session is on a newer leg: this one must change nothing more
    if (answer !== undefined) ws.send(answer);
    ws.send(`tideover:ack:${leg.seq}`); // cumulative: every hundredth would do as well
    leg.seq += 1;
  });
});
