// What both peers share: the conversation with the Go side, one JSON object a line, bytes in base64.
//
//   in   {id, op, client, ...arguments}      a call
//   out  {id, ok} or {id, error}             its answer; error is {code, message}
//   out  {send, client, group, ...bundle}    a commit for the delivery service
//   in   {answer, verdict, reason}           what the delivery service says to it
import { createInterface } from 'node:readline';

export const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'));
export const text = (b) => (b ? Buffer.from(b).toString('base64') : undefined);
export const utf8 = (s) => new TextEncoder().encode(s);
export const string = (b) => new TextDecoder().decode(b);

// Unsupported says that the peer has no such function; the matrix shows it as such and not as a failure.
export class Unsupported extends Error {
  constructor(message) {
    super(message);
    this.code = 'Unsupported';
  }
}

// Rejected says that the delivery service has refused a commit.
export class Rejected extends Error {
  constructor(reason) {
    super(reason);
    this.code = 'MessageRejected';
  }
}

const write = (o) => process.stdout.write(JSON.stringify(o) + '\n');

let sends = 0;
const verdicts = new Map();

// send hands a bundle to the delivery service and waits for its verdict.
export function send(client, bundle) {
  const n = ++sends;
  return new Promise((resolve) => {
    verdicts.set(n, resolve);
    write({ send: n, client, ...bundle });
  });
}

// serve answers calls until the input ends. open(name, args) makes a client; the other operations are its methods.
export function serve(version, open, codeOf) {
  const clients = new Map();
  const run = async ({ op, client, ...args }) => {
    if (op === 'version') return { version };
    if (op === 'open') {
      clients.set(client, await open(client, args));
      return {};
    }
    const method = clients.get(client)?.[op];
    if (!method) throw new Unsupported(`no ${op}`);
    return (await method.call(clients.get(client), args)) ?? {};
  };
  const lines = createInterface({ input: process.stdin });
  lines.on('line', async (line) => {
    const { id, answer, ...rest } = JSON.parse(line);
    if (answer) {
      verdicts.get(answer)(rest);
      verdicts.delete(answer);
      return;
    }
    try {
      write({ id, ok: await run(rest) });
    } catch (e) {
      write({ id, error: { code: String(e.code ?? codeOf(e)), message: String(e.message ?? e) } });
    }
  });
  lines.on('close', () => process.exit(0));
}
