// The load, a process of its own: connections that each send the next mint when the one before is answered. It does
// as little as it can, so that the program under test and not this one is what is measured.
import { connect, type Socket } from 'node:net';

/** What the process is told, as JSON in its first argument. */
export interface LoadOrder {
  port: number;
  connections: number;
  /** Milliseconds of load that do not count, and of those that do. */
  warmUp: number;
  duration: number;
  body: string;
}

/** What it says at its end, as JSON on standard output; latencies in milliseconds. */
export interface LoadResult {
  mints: number;
  mintsPerSecond: number;
  p50: number;
  p99: number;
  p999: number;
  /** Answers with another status than 200. */
  refused: number;
}

const { port, connections, warmUp, duration, body }: LoadOrder = JSON.parse(process.argv[2] ?? '');
const request = Buffer.from(
  `POST /tokens HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
);
const latencies: number[] = [];
let refused = 0;
let counting = false;
let ended = false;

function converse(socket: Socket): void {
  let sentAt = 0;
  let received = '';
  const send = () => {
    sentAt = performance.now();
    socket.write(request);
  };
  socket.setNoDelay(true).setEncoding('latin1');
  socket.on('connect', send);
  socket.on('data', (chunk) => {
    received += chunk;
    const end = endOfAnswer(received);
    if (end === undefined || received.length < end) return;
    if (counting) latencies.push(performance.now() - sentAt);
    if (!received.startsWith('HTTP/1.1 200')) refused += 1;
    received = '';
    if (!ended) send();
  });
  socket.on('error', fail);
  socket.on('close', () => ended || fail(new Error('the connection was closed')));
}

function endOfAnswer(text: string): number | undefined {
  const head = text.indexOf('\r\n\r\n');
  const length = head < 0 ? null : /\r\ncontent-length: (\d+)/i.exec(text);
  return length === null ? undefined : head + 4 + Number(length[1]);
}

function fail(error: Error): void {
  process.stderr.write(`load: ${error.message}\n`);
  process.exit(1);
}

const sockets = Array.from({ length: connections }, () => connect(port, '127.0.0.1'));
for (const socket of sockets) converse(socket);
await new Promise((resolve) => setTimeout(resolve, warmUp));
process.stdout.write('counting\n');
counting = true;
const begin = performance.now();
await new Promise((resolve) => setTimeout(resolve, duration));
const seconds = (performance.now() - begin) / 1000;
counting = false;
ended = true;
for (const socket of sockets) socket.destroy();

latencies.sort((a, b) => a - b);
const quantile = (q: number) =>
  latencies[Math.min(latencies.length - 1, Math.floor(q * latencies.length))] ?? Number.NaN;
const result: LoadResult = {
  mints: latencies.length,
  mintsPerSecond: latencies.length / seconds,
  p50: quantile(0.5),
  p99: quantile(0.99),
  p999: quantile(0.999),
  refused,
};
process.stdout.write(`${JSON.stringify(result)}\n`);
