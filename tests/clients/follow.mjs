// Connects to a URL with Node `ws`, following redirects if told to, sends one message, and prints what came of it as JSON.

import { createRequire } from "node:module";
import { parseArgs } from "node:util";

// NODE_PATH counts for require() only.
const require = createRequire(import.meta.url);
const { WebSocket } = require("ws");

const { values: options } = parseArgs({ options: { url: { type: "string" }, follow: { type: "boolean" } } });
const outcome = { version: require("ws/package.json").version };

const ws = new WebSocket(options.url, { followRedirects: options.follow ?? false });
ws.on("open", () => ws.send("hello"));
ws.on("message", (data) => {
  outcome.echo = data.toString();
  ws.close(1000);
});
ws.on("error", (error) => (outcome.error = error.message)); // followed by "close"
ws.on("close", () => console.log(JSON.stringify(outcome)));
