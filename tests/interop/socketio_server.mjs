// Socket.IO with a login in the CONNECT's auth, rooms, and acknowledgements both ways. What a socket has joined is in this
// process; with `--redis URL` rooms span processes.

import { createServer } from "node:http";
import { finish, log, need, open, options, sleep } from "./journal.mjs";

const { Server } = need("socket.io");

const values = options({ redis: { type: "string", default: "" } });
open(values.log);
finish.then(() => process.exit(0));

async function adapter() {
  const { createAdapter } = need("@socket.io/redis-adapter");
  const { createClient } = need("redis");
  const publisher = createClient({ url: values.redis });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  return createAdapter(publisher, subscriber);
}

/** Asks the client, one question after the other, until it says that it leaves. */
async function askOn(socket, state) {
  for (let number = 1; !state.leaving; number++) {
    const id = `${state.name}/${number}`;
    log("ask", state.name, id);
    await new Promise((resolve) => {
      socket.emit("question", id, (answer) => {
        log(answer === id ? "answer" : "stray", state.name, answer);
        resolve();
      });
    });
    await sleep(20);
  }
  socket.emit("goodbye");
}

const http = createServer();
// Often enough that a test sees heartbeats.
const io = new Server(http, { pingInterval: 1000, pingTimeout: 10_000, ...(values.redis && { adapter: await adapter() }) });
let connections = 0;

io.use((socket, next) => {
  const name = `${process.pid}-${++connections}`;
  socket.data.name = name;
  const token = socket.handshake.auth.token ?? socket.handshake.query.token ?? "";
  log("login", name, token);
  next(token === "secret" ? undefined : new Error("who are you?"));
});

io.on("connection", (socket) => {
  const state = { name: socket.data.name, leaving: false };
  log("open", state.name, socket.conn.transport.name);
  socket.on("join", async (id, room, done) => {
    await socket.join(room);
    log("did", state.name, id);
    done(id);
    askOn(socket, state);
  });
  socket.on("echo", async (id, done) => {
    await sleep(5);
    log("did", state.name, id);
    done(id);
  });
  // To all in the room, the sender too.
  socket.on("say", async (id, room, done) => {
    await sleep(5);
    log("did", state.name, id);
    io.to(room).emit("said", id);
    await sleep(2);
    done(id);
  });
  socket.on("leave", (id, done) => {
    state.leaving = true;
    done(id);
  });
  socket.on("disconnect", (reason) => log("close", state.name, reason));
});

http.listen(Number(values.port), "127.0.0.1", () => log("ready", "", values.port));
