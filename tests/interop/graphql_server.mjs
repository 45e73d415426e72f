// graphql-ws on `ws`: a login in connection_init, queries, mutations, and subscriptions whose state is in this process.

import { finish, log, need, open, options, sleep } from "./journal.mjs";

const { buildSchema, parse, validate, execute, subscribe } = need("graphql");
const { useServer } = need("graphql-ws/use/ws");
const { WebSocketServer } = need("ws");

const values = options();
open(values.log);
finish.then(() => process.exit(0));

const schema = buildSchema(`
  type Query { echo(id: String!): String! }
  type Mutation { publish(id: String!, topic: String!): String! }
  type Subscription { ticks: Int!, topic(name: String!): String! }
`);

/** Topics of this process: who listens, by name. */
const topics = new Map();

async function* ticks() {
  for (let number = 1; ; number++) {
    yield { ticks: number };
    await sleep(20);
  }
}

function topic({ name }) {
  const queue = [];
  let wake = () => {};
  const listener = (id) => (queue.push(id), wake());
  if (!topics.has(name)) topics.set(name, new Set());
  topics.get(name).add(listener);
  return {
    async next() {
      while (queue.length === 0) await new Promise((resolve) => (wake = resolve));
      return { done: false, value: { topic: queue.shift() } };
    },
    async return() {
      topics.get(name).delete(listener);
      return { done: true };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

const roots = {
  query: {
    async echo({ id }, { name }) {
      await sleep(5);
      log("did", name, id);
      return id;
    },
  },
  mutation: {
    async publish({ id, topic: name }, context) {
      await sleep(5);
      log("did", context.name, id);
      topics.get(name)?.forEach((listener) => listener(id));
      // The pushes leave before the answer does.
      await sleep(2);
      return id;
    },
  },
  subscription: { ticks, topic },
};

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(values.port), path: "/graphql" }, () =>
  log("ready", "", values.port),
);
let connections = 0;
useServer(
  {
    schema,
    validate,
    execute,
    subscribe,
    parse,
    roots,
    context: ({ extra }) => ({ name: extra.name }),
    onConnect({ connectionParams, extra }) {
      extra.name = `${process.pid}-${++connections}`;
      log("login", extra.name, connectionParams?.token ?? "");
      return connectionParams?.token === "secret";
    },
    onSubscribe({ extra }, id) {
      log("subscribe", extra.name, id);
    },
    onClose({ extra }, code, reason) {
      log("close", extra.name ?? "", `${code} ${reason}`);
    },
  },
  server,
);
