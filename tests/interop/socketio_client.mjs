// The client of Socket.IO: logs in, joins a room, and then talks in it and asks for acknowledgements. With `--polling` it
// begins as the library does by default, by long-polling, and changes to the WebSocket.

import { need, options, runSessions, sleep } from "./journal.mjs";

const { io } = need("socket.io-client");

const values = options({ polling: { type: "boolean", default: false }, "shared-room": { type: "boolean", default: false } });

function connect(session) {
  const transports = values.polling ? ["polling", "websocket"] : ["websocket"];
  // A cookie leads the client's polling and its WebSocket to one server.
  const ways = { transports, withCredentials: true, forceNew: true, timeout: 60_000 };
  // What is said by polling, nobody can say again: then the login is in the URL, which each server gets.
  const login = values.polling ? { query: { token: "secret" } } : { auth: { token: "secret" } };
  const socket = io(values.url, { ...ways, ...login });
  let connections = 0;
  socket.on("connect", () => ++connections > 1 && session.fault("connected again"));
  socket.on("connect_error", (error) => session.fault(`connect_error: ${error.message}`));
  socket.on("disconnect", (reason) => reason !== "io client disconnect" && session.fault(`disconnect: ${reason}`));
  for (const event of ["error", "reconnect_attempt", "reconnect", "reconnect_error"]) {
    socket.io.on(event, (what) => session.fault(`${event}: ${what?.message ?? what ?? ""}`));
  }
  return socket;
}

/** Acknowledgements are counted as they come from the wire: the library drops one that comes twice. */
function countAnswers(socket, session) {
  const ACK = 3;
  socket.io.on("packet", ({ type, data }) => type === ACK && session.answer(data[0]));
}

function upgraded(socket) {
  const { engine } = socket.io;
  if (engine.transport.name === "websocket") return Promise.resolve();
  return new Promise((resolve) => engine.once("upgrade", resolve));
}

/** Resolves for each session when all have come so far. */
function meeting() {
  let [missing, allAreThere] = [Number(values.sessions), undefined];
  const everybody = new Promise((resolve) => (allAreThere = resolve));
  return () => (--missing === 0 && allAreThere(), everybody);
}

// A server may be killed as soon as somebody joins, and who still polls then has no session that could outlive it.
const upgradedAll = meeting();
const saidLast = meeting();
/** What each session says at last, when all are there; in a shared room all others must hear it. */
const last = [];

await runSessions(values, async (session) => {
  const socket = connect(session);
  const room = values["shared-room"] ? "all" : `room-${session.number}`;
  const nothing = () => {};
  countAnswers(socket, session);
  socket.on("question", (id, done) => done(id));
  socket.on("goodbye", () => session.get("goodbye"));
  socket.on("said", (id) => (own(id, session) || session.misses(id)) && session.get(id));
  await new Promise((resolve) => socket.once("connect", resolve));
  await upgraded(socket);
  if (values.polling) await upgradedAll();

  const echo = () => socket.emit("echo", session.ask("echo"), nothing);
  const say = (id = session.ask("say")) => {
    session.want(id);
    socket.emit("say", id, room, nothing);
  };
  let count = 0;
  socket.emit("join", session.ask("join"), room, nothing);
  await session.complete(60_000);
  await session.work(() => (++count % 3 ? echo() : say()), values);

  echo();
  await session.complete(Number(values["patience-ms"]));
  const mine = session.ask("say");
  last.push(mine);
  await saidLast();
  if (values["shared-room"]) last.filter((id) => id !== mine).forEach((id) => session.want(id));
  say(mine);
  await session.complete(Number(values["patience-ms"]));

  session.want("goodbye");
  socket.emit("leave", session.ask("leave"), nothing);
  await session.complete(Number(values["patience-ms"]));
  await sleep(100); // what comes a second time comes soon
  socket.disconnect();
});

function own(id, session) {
  return id.startsWith(`say-${session.number}-`);
}
