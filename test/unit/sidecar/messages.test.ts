import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from '@jest/globals';
import express from 'express';
import { messagesOf } from '../../../sidecar/server/messages.ts';

test('requests and responses come with the prototypes that Express would put under them, and with all of its methods', async () => {
  const app = express();
  app.get('/', (request, response) => {
    response.status(203).json({ host: request.get('host'), app: response.app === app });
  });
  const prototypes: unknown[] = [];
  const server = createServer(messagesOf(app));
  server.on('request', (request, response) => {
    prototypes.push(Object.getPrototypeOf(request), Object.getPrototypeOf(response));
  });
  server.on('request', app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/`);

    expect(prototypes).toHaveLength(2);
    expect(prototypes[0]).toBe(app.request);
    expect(prototypes[1]).toBe(app.response);
    expect(answer.status).toBe(203);
    expect(await answer.json()).toEqual({ host: `127.0.0.1:${port}`, app: true });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
