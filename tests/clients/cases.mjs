// The compressing echo client that Autobahn's server tries: it asks how many cases there are, runs each, so many at a
// time, and says when all are done.

import { createRequire } from "node:module";
import { parseArgs } from "node:util";

// NODE_PATH counts for require() only.
const { WebSocket } = createRequire(import.meta.url)("ws");

const { values: options } = parseArgs({ options: { url: { type: "string" }, parallel: { type: "string" } } });

/** Sends back what comes until the connection's end, whatever that is; gives the last message. */
function echo(path) {
  return new Promise((resolve) => {
    const ws = new WebSocket(options.url + path, { perMessageDeflate: { threshold: 0 }, maxPayload: 0 });
    let last = "";
    ws.on("message", (data, binary) => {
      last = data.toString();
      if (path !== "/getCaseCount") ws.send(data, { binary });
    });
    ws.on("error", () => {}); // followed by "close"
    ws.on("close", () => resolve(last));
  });
}

process.stdin.resume().on("end", () => process.exit(1)); // the test has ended
const count = Number(await echo("/getCaseCount"));
let next = 0;
const worker = async () => {
  while (next < count) await echo(`/runCase?case=${++next}&agent=echo`);
};
await Promise.all(Array.from({ length: Number(options.parallel) }, worker));
await echo("/updateReports?agent=echo");
process.exit(count > 0 ? 0 : 1);
