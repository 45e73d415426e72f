// The client of graphql-ws, as an application uses it: one connection from the start on, two subscriptions that stay, and
// queries and mutations one after the other.

import { need, options, runSessions, sleep } from "./journal.mjs";

const { createClient } = need("graphql-ws");
const { WebSocket } = need("ws");

const values = options();

const ECHO = "query ($id: String!) { echo(id: $id) }";
const PUBLISH = "mutation ($id: String!, $topic: String!) { publish(id: $id, topic: $topic) }";

function connect(session) {
  const subscriptions = ["ticks", "topic"];
  let connections = 0;
  // Every answer that the library takes from the wire, also one that nobody waits for any more.
  const message = ({ type, id }) => {
    if (type === "next" && !subscriptions.includes(id)) session.answer(id);
    if (type === "error") session.fault(`error for ${id}`);
    if (type === "complete" && subscriptions.includes(id)) session.fault(`the subscription ${id} ended`);
  };
  return createClient({
    url: values.url,
    webSocketImpl: WebSocket,
    lazy: false,
    keepAlive: 250,
    connectionParams: { token: "secret" },
    onNonLazyError: (error) => session.fault(`gave up: ${error?.reason ?? error?.message ?? error}`),
    on: {
      message,
      connecting: (again) => again && session.fault("reconnect"),
      connected: () => ++connections > 1 && session.fault("connected again"),
      closed: ({ code, reason }) => code !== 1000 && session.fault(`closed: ${code} ${reason}`),
      error: (error) => session.fault(`error: ${error.message}`),
    },
    generateID: ({ variables, extensions }) => extensions?.id ?? variables.id,
  });
}

/** Queries and mutations: errors are faults, answers are counted where they come from the wire. */
function operation(client, session, query, variables) {
  const error = (errors) => session.fault(`failed: ${variables.id}: ${errors?.reason ?? JSON.stringify(errors)}`);
  client.subscribe({ query, variables }, { next() {}, error, complete() {} });
}

function subscription(client, session, id, query, next) {
  const error = (errors) => session.fault(`failed: ${id}: ${errors?.reason ?? JSON.stringify(errors)}`);
  client.subscribe({ query, extensions: { id } }, { next: ({ data }) => next(data), error, complete() {} });
}

await runSessions(values, async (session) => {
  const client = connect(session);
  const topic = `topic-${session.number}`;
  let ticks = () => {};
  subscription(client, session, "topic", `subscription { topic(name: "${topic}") }`, (data) => session.get(data.topic));
  if (!values.quiet) subscription(client, session, "ticks", "subscription { ticks }", () => ticks());

  const echo = () => operation(client, session, ECHO, { id: session.ask("echo") });
  const publish = () => {
    const id = session.ask("publish");
    session.want(id);
    operation(client, session, PUBLISH, { id, topic });
  };
  let count = 0;
  echo();
  await session.complete(60_000);
  await session.work(() => (++count % 4 ? echo() : publish()), values);

  if (!values.quiet) {
    session.want("ticks");
    ticks = () => session.misses("ticks") && session.get("ticks");
  }
  echo();
  publish();
  await session.complete(Number(values["patience-ms"]));
  await sleep(50); // what comes a second time comes soon
  await client.dispose();
});
