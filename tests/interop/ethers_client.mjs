// The WebSocketProvider of ethers, against a node whose subscriptions are in its memory: blocks, and requests of its own.

import { need, options, runSessions, sleep } from "./journal.mjs";

const { Network, WebSocketProvider } = need("ethers");
const { WebSocket } = need("ws");

const values = options();

/** The socket that the provider is given, so that what the provider keeps to itself of its end is seen. */
function socketOf(session, leaving) {
  const socket = new WebSocket(values.url);
  socket.on("close", (code, reason) => leaving() || session.fault(`closed: ${code} ${reason}`));
  socket.on("error", (error) => session.fault(`error: ${error.message}`));
  return socket;
}

await runSessions(values, async (session) => {
  let left = false;
  const socket = socketOf(session, () => left);
  const provider = new WebSocketProvider(socket, Network.from(1), { staticNetwork: true, batchMaxCount: 1 });
  provider.on("error", (error) => session.fault(`error: ${error.message ?? error}`));
  const request = (method, params) => {
    const id = session.ask(method);
    const answered = (answer) => (answer === id ? session.answer(id) : session.fault(`${answer} is the answer to ${id}`));
    provider.send(method, [...params, id]).then(answered, (error) => session.fault(`error for ${id}: ${error.message}`));
  };
  const echo = () => request("echo", []);
  if (!values.quiet) {
    session.want("block");
    await provider.on("block", () => session.misses("block") && session.get("block"));
  }
  echo();
  await session.complete(60_000);
  await session.work(echo, values);
  if (!values.quiet) session.want("block");
  echo();
  await session.complete(Number(values["patience-ms"]));
  await sleep(50); // what comes a second time comes soon
  left = true;
  await provider.destroy();
});
