// Test clients on Node `ws`, several in a process: each sends numbered messages at a rate, waits for the echo of
// everything, closes with 1000. The transcript goes to standard output, a JSON object a line, when all have ended.

import fs from "node:fs";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

// NODE_PATH counts for require() only.
const { WebSocket } = createRequire(import.meta.url)("ws");

const text = { type: "string" };
const { values: options } = parseArgs({
  options: { url: text, "first-client": text, clients: text, rate: text, messages: text, "settle-ms": text, compressed: { type: "boolean" } },
});
const padding = options.compressed ? `:${" and so on".repeat(20)}` : "";
const first = Number(options["first-client"]);
const messages = Number(options.messages);
const every = 1000 / Number(options.rate);

const lines = [];

function record(client, event, more) {
  // Nanoseconds of the monotonic clock are below 2^53 for 104 days after boot; JSON.stringify takes no BigInt.
  lines.push(`{"at":${process.hrtime.bigint()},"client":${client},"event":"${event}",${JSON.stringify(more).slice(1)}`);
}

function run(client) {
  return new Promise((resolve) => {
    const ws = new WebSocket(options.url, { perMessageDeflate: options.compressed ? { threshold: 0 } : false });
    const echoed = new Set();
    let sent = 0;
    let closed = false;
    let error = "";
    let timer;
    let giveUp;

    const close = () => {
      closed = true;
      ws.close(1000);
    };
    const sendDue = (start) => {
      const due = Math.min(messages, Math.floor((performance.now() - start) / every) + 1);
      while (sent < due) {
        const message = `c${client}-${++sent}${padding}`;
        record(client, "sent", { text: message });
        ws.send(message);
      }
      if (sent === messages) {
        clearInterval(timer);
        giveUp = setTimeout(close, Number(options["settle-ms"]));
      }
    };
    ws.on("open", () => {
      if (options.compressed && !ws.extensions.includes("permessage-deflate")) {
        error = "no compression was agreed on";
        return ws.terminate();
      }
      // Clients are spread over the time between two messages, so that a fault meets each at another moment of its work.
      const start = performance.now() + (((client * 37) % 100) / 100) * every;
      timer = setInterval(() => sendDue(start), every);
    });
    ws.on("message", (data, binary) => {
      const message = data.subarray(0, 64).toString();
      record(client, "got", { text: message, binary, len: data.length });
      echoed.add(message);
      if (echoed.size === messages) close();
    });
    ws.on("error", (cause) => (error = cause.message)); // followed by "close"
    ws.on("close", (code, reason) => {
      clearInterval(timer);
      clearTimeout(giveUp);
      if (closed && (code === 1000 || code === 1006)) record(client, "end", { by: "client" });
      else if (code === 1006) record(client, "end", { by: "lost", error: error || "end of stream" });
      else record(client, "end", { by: "peer", code, reason: reason.toString() });
      resolve();
    });
  });
}

process.stdin.resume().on("end", () => process.exit(1)); // the test has ended
await Promise.all(Array.from({ length: Number(options.clients) }, (_, index) => run(first + index)));
fs.writeSync(1, lines.join("\n") + "\n");
process.exit(0);
