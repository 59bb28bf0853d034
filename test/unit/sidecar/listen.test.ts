import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, test } from '@jest/globals';
import express from 'express';
import { listen } from '../../../sidecar/server/listen.ts';

test('a drain ends a connection whose last answer waits for one before it', async () => {
  const app = express();
  const { promise: slow, resolve: answerSlow } = Promise.withResolvers<void>();
  const { promise: quick, resolve: quickIsAnswered } = Promise.withResolvers<void>();
  app.get('/slow', async (_request, response) => {
    await slow;
    response.send('slow');
  });
  app.get('/quick', (_request, response) => {
    response.send('quick');
    quickIsAnswered();
  });
  const variables = { port: 'PORT', address: 'ADDRESS' };
  const { address, drain } = await listen(app, { port: 0, address: '127.0.0.1' }, variables);
  const socket = connect(address.port, '127.0.0.1').setEncoding('utf8');
  let received = '';
  socket.on('data', (text) => {
    received += text;
  });
  const closed = once(socket, 'close');
  socket.write(['/slow', '/quick'].map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`).join(''));
  await quick;

  const drained = drain();
  const begun = performance.now();
  answerSlow();
  await Promise.all([drained, closed]);
  // An idle connection would be kept for five.
  expect(performance.now() - begun).toBeLessThan(4000);
  expect(received).toMatch(/slow.*quick$/s);
});
