import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import express, { type ErrorRequestHandler, type RequestHandler } from 'express';
import fc from 'fast-check';
import { jsonBody } from '../../../sidecar/server/body.ts';

// What the service makes of a body: its value, or the status and whether it counts as bad JSON.
const tell: RequestHandler = ({ body }, response) => {
  response.json({ body });
};
const told: unknown[] = [];
const tellError: ErrorRequestHandler = (error, _request, response, _next) => {
  const answer = { status: error.status, syntax: error instanceof SyntaxError };
  told.push(answer);
  response.json(answer);
};

const servers: Server[] = [];
async function serve(parser: RequestHandler): Promise<string> {
  const server = createServer(express().use(parser, tell, tellError)).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

let ours = '';
let theirs = '';
beforeAll(async () => {
  [ours, theirs] = await Promise.all([serve(jsonBody()), serve(express.json())]);
});
afterAll(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

const json = { 'content-type': 'application/json' };

async function expectTheSame(
  body: Uint8Array | string,
  headers: Record<string, string> = json,
): Promise<void> {
  const post = async (url: string) =>
    (await fetch(url, { method: 'POST', body: Buffer.from(body), headers })).text();
  expect(await post(ours)).toBe(await post(theirs));
}

test.each([
  ['an object', '{"sender":"a","scopes":{"x":[1,null]}}'],
  ['a list', '[1]'],
  ['blanks around', ' \r\n\t{"a":1} \n'],
  ['a byte order mark', '\uFEFF{"a":1}'],
  ['two byte order marks', '\uFEFF\uFEFF{"a":1}'],
  ['a byte order mark alone', '\uFEFF'],
  ['nothing', ''],
  ['a blank', ' '],
  ['a string', '"a"'],
  ['a number', '1'],
  ['null', 'null'],
  ['half an object', '{"a":'],
  ['more than an object', '{"a":1}x'],
  ['a member twice', '{"a":1,"a":2}'],
  ['__proto__', '{"__proto__":{"a":1}}'],
  ['a lone surrogate', '{"a":"\\ud800"}'],
  ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0xc3, 0x22, 0x7d])],
  ['as much as is allowed', JSON.stringify({ a: 'x'.repeat(102_400 - 8) })],
  ['more than is allowed', JSON.stringify({ a: 'x'.repeat(102_400 - 7) })],
  ['characters across chunks', JSON.stringify({ a: '€'.repeat(30_000) })],
])('%s is the same to us and to express.json()', (_name, body) => expectTheSame(body));

test.each([
  [{}],
  [{ 'content-type': 'application/json; charset=utf-8' }],
  [{ 'content-type': 'application/json; charset=utf-16le' }],
  [{ 'content-type': 'application/json; charset=latin1' }],
  [{ 'content-type': 'Application/JSON' }],
  [{ 'content-type': 'text/plain' }],
  [{ ...json, 'content-encoding': 'identity' }],
  [{ ...json, 'content-encoding': 'gzip' }],
  [{ ...json, 'content-encoding': 'nonsense' }],
])('so it is with %j', (headers) => expectTheSame('{"a":"ä"}', headers));

test('so it is with any JSON, whole or cut short', async () => {
  await fc.assert(
    fc.asyncProperty(fc.json(), fc.nat({ max: 200 }), async (text, end) => {
      await expectTheSame(text);
      await expectTheSame(text.slice(0, end));
    }),
    { numRuns: 50 },
  );
});

test('so it is with a caller that goes away in the middle', async () => {
  for (const url of [ours, theirs]) {
    told.length = 0;
    const sent = request(url, { method: 'POST', headers: { ...json, 'content-length': '100' } });
    sent.on('error', () => {});
    sent.write('{"a":');
    setTimeout(() => sent.destroy(), 100);
    while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(told).toEqual([{ status: 400, syntax: false }]);
  }
});
