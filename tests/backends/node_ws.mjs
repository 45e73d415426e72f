// Test backend on Node `ws`. `--handler sync`: a message is handled before the next frame, pings too, is looked at. At
// `/answer` it is: the handler blocks the thread. At `/slow` it only stops reading, so frames that have been read go on.
// `--handler async`: the handler only begins then, and pings are answered before it has finished.

import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";
import zlib from "node:zlib";

// NODE_PATH counts for require() only.
const { WebSocketServer } = createRequire(import.meta.url)("ws");

const { values: options } = parseArgs({
  options: { port: { type: "string" }, log: { type: "string" }, handler: { type: "string", default: "sync" } },
});

const file = fs.openSync(options.log, "a");
let connections = 0;

/** One write(2) a line, so that a SIGKILL loses nothing that was written. */
function logLine(event, connection, rest = "") {
  fs.writeSync(file, `${process.hrtime.bigint()} ${event} ${connection} ${rest}\n`);
}

function logMessage(event, connection, data) {
  const prefix = data.subarray(0, 64).toString("latin1").replace(/[^ -~]/g, "?");
  logLine(event, connection, `${data.length} ${prefix}`);
}

const ENDS = ["return", "eof", "raise", "reset", "close", "close_codeless"];

function behaviourOf(target) {
  const url = new URL(target, "ws://test");
  const query = (key, preset) => url.searchParams.get(key) ?? preset;
  const name = url.pathname.slice(1);
  return {
    name,
    pause: name === "slow" ? Number(query("ms", 1000)) : name === "answer" ? Number(query("ms", 0)) : 0,
    blocks: name === "answer",
    answer: (data) => (name === "answer" ? Buffer.concat([Buffer.from("re:"), data]) : data),
    every: Number(query("every_ms", 100)),
    bytes: Number(query("bytes", 0)),
    code: Number(query("code", 1000)),
    reason: query("reason", ""),
    after: ENDS.includes(name) ? Number(query("after", 0)) : Infinity,
  };
}

function end(ws, behaviour) {
  switch (behaviour.name) {
    case "raise":
      throw new Error("the handler raises, as it was told to");
    case "eof":
      return ws.terminate();
    case "reset":
      return ws.send("before-reset", () => ws._socket.resetAndDestroy());
    case "close":
      return ws.close(behaviour.code, behaviour.reason);
    case "close_codeless":
      return ws.close();
  }
}

const nothing = new Int32Array(new SharedArrayBuffer(4));
const block = (milliseconds) => milliseconds && Atomics.wait(nothing, 0, 0, milliseconds);
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function handle(ws, request) {
  const name = `${process.pid}-${++connections}`;
  const behaviour = behaviourOf(request.url);
  logLine("open", name, request.url);
  let handled = 0;

  const finish = (data, binary) => {
    ws.send(behaviour.answer(data), { binary });
    logMessage("done", name, data);
    if (++handled === behaviour.after) end(ws, behaviour);
  };
  const handlers = {
    sync(data, binary) {
      logMessage("read", name, data);
      if (behaviour.blocks) block(behaviour.pause);
      if (!behaviour.pause || behaviour.blocks) return finish(data, binary);
      ws.pause();
      setTimeout(() => {
        finish(data, binary);
        ws.resume();
      }, behaviour.pause);
    },
    async async(data, binary) {
      logMessage("read", name, data);
      await sleep(behaviour.pause);
      finish(data, binary);
    },
  };

  ws.on("error", () => {}); // followed by "close"
  ws.on("close", (code, reason) => (code === 1006 ? logLine("eof", name) : logLine("close", name, `${code} ${reason}`)));
  if (behaviour.name === "push") {
    ws.pause(); // never reads
    let number = 0;
    const timer = setInterval(() => ws.send(`push-${++number}`.padEnd(behaviour.bytes, ".")), behaviour.every);
    ws.on("close", () => clearInterval(timer));
  } else {
    ws.on("message", handlers[options.handler]);
    if (behaviour.after === 0) end(ws, behaviour);
  }
}

// For clients that offer it. Without matches, so that hardly anything becomes the bytes that other backends make of it.
const perMessageDeflate = { threshold: 0, zlibDeflateOptions: { strategy: zlib.constants.Z_HUFFMAN_ONLY } };
// For a browser, which opens WebSockets from a page.
const pages = http.createServer((_request, response) => {
  response.setHeader("Content-Type", "text/html");
  response.end("<!doctype html><title>A test's page</title>");
});
const server = new WebSocketServer({ server: pages, maxPayload: 0, perMessageDeflate });
server.on("connection", handle);
pages.listen(Number(options.port), "127.0.0.1", () => logLine("ready", process.pid, options.port));

process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  pages.close();
  for (const ws of server.clients) ws.close(1001);
  setTimeout(() => process.exit(0), 2000).unref();
});
// The test holds the other end of standard input: its end is the test's end.
process.stdin.resume().on("end", () => process.exit(1));
