import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import express from 'express';
import { mintLimiter } from '../../../sidecar/server/limit.ts';
import { ask } from './support/sidecar.ts';

const hour = 3_600_000;

/** The limiter before a handler that always mints, under clocks that the test sets. */
describe('the minute of a limit', () => {
  let server: Server;
  let elapsed: number;
  let timeOfDay: number;

  beforeEach(async () => {
    elapsed = 1_000;
    timeOfDay = Date.UTC(2026, 10, 24);
    jest.spyOn(performance, 'now').mockImplementation(() => elapsed);
    jest.spyOn(Date, 'now').mockImplementation(() => timeOfDay);
    const app = express();
    const limiter = mintLimiter(
      () => 2,
      (response, limit, seconds) => void response.status(429).json({ limit, seconds }),
    );
    app.get('/', limiter, (_request, response) => void response.json('minted'));
    server = createServer(app);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    await new Promise((resolve) => server.close(resolve));
  });

  const get = async () =>
    JSON.parse((await ask(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)).text);

  const exhausted = async () => {
    expect([await get(), await get()]).toEqual(['minted', 'minted']);
    expect(await get()).toEqual({ limit: 2, seconds: 60 });
  };

  test('ends after a minute', async () => {
    await exhausted();
    elapsed += 59_500;
    timeOfDay += 59_500;
    expect(await get()).toEqual({ limit: 2, seconds: 1 });
    elapsed += 500;
    timeOfDay += 500;
    await exhausted();
  });

  test.each([
    ['back', -hour],
    ['forward', hour],
  ])('is as long when the clock is set %s', async (_, jump) => {
    await exhausted();
    timeOfDay += jump;
    elapsed += 20_000;
    expect(await get()).toEqual({ limit: 2, seconds: 40 });
    elapsed += 40_000;
    await exhausted();
  });
});
