// What a program saw, a JSON object a line, each written at once, so that a SIGKILL loses nothing that was written; and how
// the test leads it. tests/README.md lists the events.

import fs from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

// NODE_PATH counts for require() only.
export const need = createRequire(import.meta.url);

const text = (preset) => ({ type: "string", default: preset });

/** The flags that all programs have; those of the program itself come beside them. */
export function options(more = {}) {
  const common = { port: text("0"), url: text(""), log: text(""), sessions: text("1"), first: text("0") };
  const ways = { quiet: { type: "boolean", default: false }, "patience-ms": text("10000") };
  return parseArgs({ options: { ...common, ...ways, ...more } }).values;
}

let file;

export function open(path) {
  file = fs.openSync(path, "a");
}

/** `id` is what was asked, answered, …; `session` the client's number, or the server's name for a connection. */
export function log(event, session, id = "") {
  // Nanoseconds of the monotonic clock are below 2^53 for 104 days after boot; JSON.stringify takes no BigInt.
  const rest = JSON.stringify({ event, session: String(session), id: String(id) }).slice(1);
  fs.writeSync(file, `{"at":${process.hrtime.bigint()},"pid":${process.pid},${rest}\n`);
}

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The test says `finish` when the faults are over; the end of standard input is the test's end. */
export const finish = new Promise((resolve) => {
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => line === "finish" && resolve());
  lines.on("close", () => process.exit(1));
});

let finishing = false;
finish.then(() => (finishing = true));

/** One client: asks numbered things, and knows what is still missing. */
export class Session {
  #asked = 0;
  #missing = new Set();
  #complete = () => {};

  constructor(number) {
    this.number = number;
  }

  /** Something is asked; the answer must come, and once. Gives its id. */
  ask(kind) {
    const id = `${kind}-${this.number}-${++this.#asked}`;
    this.#missing.add(id);
    log("ask", this.number, id);
    return id;
  }

  answer(id) {
    log("answer", this.number, id);
    this.#found(id);
  }

  /** Something must be pushed to us, at least once. */
  want(id) {
    this.#missing.add(id);
    log("want", this.number, id);
  }

  /** Whether a push is one that is wanted and has not come. */
  misses(id) {
    return this.#missing.has(id);
  }

  get(id) {
    log("get", this.number, id);
    this.#found(id);
  }

  /** The library said something that it would not have said on a connection that lasts. */
  fault(what) {
    log("fault", this.number, what);
  }

  get open() {
    return this.#missing.size;
  }

  #found(id) {
    this.#missing.delete(id);
    if (this.#missing.size === 0) this.#complete();
  }

  /** True when nothing is missing, false when the patience is over. */
  complete(milliseconds) {
    if (this.#missing.size === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), milliseconds);
      this.#complete = () => (clearTimeout(timer), resolve(true));
    });
  }

  /** Asks something now and then, a few at a time, until the test says `finish`. */
  async work(askOne, { quiet }) {
    log("settled", this.number);
    while (!quiet && !finishing) {
      if (this.open < 6) askOne();
      await sleep(10 + (this.number % 5));
    }
    await finish;
  }
}

/** Runs the client's sessions side by side; `run(session)` is one's whole life. */
export async function runSessions(values, run) {
  open(values.log);
  const numbers = Array.from({ length: Number(values.sessions) }, (_, index) => Number(values.first) + index);
  const one = async (number) => {
    const session = new Session(number);
    await run(session).catch((error) => session.fault(`failed: ${error?.message ?? error}`));
    log("done", number);
  };
  await Promise.all(numbers.map(one));
  process.exit(0);
}
