// A page in Chromium that opens WebSockets and does on each what client.mjs does: numbered messages at a rate, the echo of
// everything, a close with 1000. What the page sees goes to standard output, a JSON object a line, when all have ended:
// an onclose or onerror that it did not ask for is an end by the peer, or a loss.

import crypto from "node:crypto";
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

// NODE_PATH counts for require() only.
const { chromium } = createRequire(import.meta.url)("playwright-core");

const text = { type: "string" };
const { values: options } = parseArgs({
  options: {
    url: text, "first-client": text, clients: text, rate: text, messages: text, "settle-ms": text,
    compressed: { type: "boolean" }, chromium: text, trust: text,
  },
});

/** The certificate that the browser is to trust, by its key's hash: no other is let through. */
function trusted(file) {
  const key = new crypto.X509Certificate(fs.readFileSync(file)).publicKey.export({ type: "spki", format: "der" });
  return crypto.createHash("sha256").update(key).digest("base64");
}

/** Runs in the page; gives what happened, in milliseconds of its clock. */
async function converse({ url, first, clients, every, messages, settle, compressed }) {
  const padding = compressed ? `:${" and so on".repeat(20)}` : "";
  const events = [];
  const record = (client, event, more) => events.push({ at: performance.now(), client, event, ...more });
  const run = (client) =>
    new Promise((resolve) => {
      const ws = new WebSocket(url);
      const echoed = new Set();
      let sent = 0;
      let asked = false;
      let timer;
      let giveUp;
      const end = (how) => {
        clearInterval(timer);
        clearTimeout(giveUp);
        record(client, "end", how);
        resolve();
      };
      const close = () => {
        asked = true;
        ws.close(1000);
      };
      ws.onopen = () => {
        if (compressed && !ws.extensions.includes("permessage-deflate")) {
          ws.onclose = ws.onerror = null;
          return end({ by: "lost", error: "no compression was agreed on" });
        }
        const start = performance.now();
        timer = setInterval(() => {
          const due = Math.min(messages, Math.floor((performance.now() - start) / every) + 1);
          while (sent < due) {
            const message = `c${client}-${++sent}${padding}`;
            record(client, "sent", { text: message });
            ws.send(message);
          }
          if (sent === messages) {
            clearInterval(timer);
            giveUp = setTimeout(close, settle);
          }
        }, every);
      };
      ws.onmessage = ({ data }) => {
        record(client, "got", { text: data.slice(0, 64), binary: false, len: data.length });
        echoed.add(data);
        if (echoed.size === messages) close();
      };
      ws.onerror = () => {
        ws.onclose = null;
        end({ by: "lost", error: "onerror" });
      };
      ws.onclose = ({ code, reason }) =>
        end(asked && code === 1000 ? { by: "client" } : { by: "peer", code, reason });
    });
  await Promise.all(Array.from({ length: clients }, (_, index) => run(first + index)));
  return events;
}

const profile = fs.mkdtempSync(path.join(os.tmpdir(), "tideover-chromium-"));
process.stdin.resume().on("end", () => process.exit(1)); // the test has ended
process.on("exit", () => fs.rmSync(profile, { recursive: true, force: true }));

const browser = await chromium.launchPersistentContext(profile, {
  executablePath: options.chromium,
  headless: true,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", `--ignore-certificate-errors-spki-list=${trusted(options.trust)}`,
  ],
});
const page = await browser.newPage();
// From the same port: a page of another address may not open connections to this machine.
await page.goto(options.url.replace(/^wss:/, "https:").replace(/\/[^/]*$/, "/page"));
// Nanoseconds of the monotonic clock at the page's zero, good to the milliseconds that a call takes.
const zero = Number(process.hrtime.bigint()) - 1e6 * (await page.evaluate(() => performance.now()));
const events = await page.evaluate(converse, {
  url: options.url,
  first: Number(options["first-client"]),
  clients: Number(options.clients),
  every: 1000 / Number(options.rate),
  messages: Number(options.messages),
  settle: Number(options["settle-ms"]),
  compressed: options.compressed,
});
await browser.close();
const lines = events.map(({ at, ...event }) => JSON.stringify({ at: Math.round(zero + 1e6 * at), ...event }));
fs.writeSync(1, lines.join("\n") + "\n");
process.exit(0);
