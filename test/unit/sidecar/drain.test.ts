import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { ask, eventually, mint, Sidecar } from './support/sidecar.ts';

const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

/** A connection on which bytes are sent by hand. */
async function dial(base: string) {
  const socket = connect(Number(new URL(base).port), '127.0.0.1').setEncoding('utf8');
  sockets.push(socket);
  let received = '';
  socket.on('data', (text) => {
    received += text;
  });
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  // A reset is an end like any other here.
  socket.on('error', () => {});
  await once(socket, 'connect');
  return { socket, closed, received: () => received };
}

const start = async () => {
  const sidecar = new Sidecar({ MACP_AUTH_SIGNING_ALG: 'ES256' });
  const [base = ''] = await sidecar.listening();
  return { sidecar, base };
};
const body = '{"sender":"a"}';
const head =
  'POST /tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n' +
  `Content-Length: ${body.length}\r\n\r\n`;

describe.each(['SIGTERM', 'SIGINT'] as const)('on %s', (signal) => {
  test('a request in flight is answered, nothing new is accepted, and the exit code is 0', async () => {
    const { sidecar, base } = await start();
    const slow = await dial(base);
    slow.socket.write(head + body.slice(0, 5));
    // Until that connection has surely been accepted: one made later was.
    await ask(`${base}/healthz`);

    sidecar.child.kill(signal);
    await eventually(() => sidecar.logged('draining')[0]);
    await eventually(async () =>
      ask(`${base}/healthz`).then(
        () => undefined,
        () => true,
      ),
    );
    expect(sidecar.child.exitCode).toBeNull();

    slow.socket.write(body.slice(5));
    await slow.closed;
    expect(slow.received()).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(slow.received()).toMatch(/\r\nConnection: close\r\n/i);
    expect((await sidecar.ended).code).toBe(0);
  });

  test('idle connections and silent ones do not hold it up', async () => {
    const { sidecar, base } = await start();
    const idle = await dial(base);
    idle.socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
    await eventually(() => (idle.received().includes('{"ok":true}') ? true : undefined));
    expect(idle.received()).toMatch(/\r\nConnection: keep-alive\r\n/i);
    const silent = await dial(base);
    await mint(base, { sender: 'a' });

    const asked = Date.now();
    sidecar.child.kill(signal);
    expect((await sidecar.ended).code).toBe(0);
    expect(Date.now() - asked).toBeLessThan(9000);
    await Promise.all([idle.closed, silent.closed]);
  });
});

test('a request that never ends is given up after 10 s, with exit code 1', async () => {
  const { sidecar, base } = await start();
  const stuck = await dial(base);
  stuck.socket.write(head);
  await ask(`${base}/healthz`);
  const asked = Date.now();
  sidecar.child.kill('SIGTERM');
  expect((await sidecar.ended).code).toBe(1);
  expect(Date.now() - asked).toBeGreaterThanOrEqual(9900);
});
