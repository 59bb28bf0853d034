import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { askExternal, createExternalURLs } from '../../../operator/observe/external.ts';
import type { ExternalAnswer } from '../../../operator/plan/servers.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { t0 } from './builders.ts';

const servers: http.Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(
  handler: http.RequestListener,
  server: http.Server = http.createServer(),
): Promise<string> {
  servers.push(server);
  server.on('request', handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const point = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' };

describe('an external URL that is asked', () => {
  test('tells the keys that it serves, at its very path', async () => {
    const asked: (string | undefined)[] = [];
    const at = await serve(({ url, method, headers }, response) => {
      asked.push(`${method} ${url} ${headers.host}`);
      response.end(JSON.stringify({ keys: [{ ...point, kid: 'a', use: 'sig' }] }));
    });
    expect(await askExternal(`http://${at}/some/jwks.json`)).toEqual({ keys: [{ ...point, kid: 'a' }] });
    expect(asked).toEqual([`GET /some/jwks.json ${at}`]);
  });

  test.each<[string, http.RequestListener, string]>([
    ['an error', (_, response) => response.writeHead(404).end(), 'it answered 404'],
    ['no JSON', (_, response) => response.end('<html>'), 'its answer is not a JWK Set'],
    ['no keys', (_, response) => response.end('{}'), 'its answer is not a JWK Set'],
    [
      'an answer without end',
      (_, response) => {
        const more = () => {
          while (!response.destroyed && response.write(Buffer.alloc(65_536, ' ')));
        };
        response.on('drain', more);
        more();
      },
      'its answer is too large',
    ],
    ['no answer', () => {}, 'it did not answer within 3 s'],
    ['a broken connection', (request) => request.socket.destroy(), 'it cannot be reached (ECONNRESET)'],
  ])('with %s says so', async (_, handler, problem) => {
    expect(await askExternal(`http://${await serve(handler)}/`)).toEqual({ problem });
  });

  test('is not followed elsewhere', async () => {
    let followed = false;
    const elsewhere = await serve((_, response) => {
      followed = true;
      response.end('{"keys":[]}');
    });
    const at = await serve((_, response) =>
      response.writeHead(302, { location: `http://${elsewhere}/` }).end(),
    );
    expect(await askExternal(`http://${at}/`)).toEqual({
      problem: 'it answered 302, and no redirect is followed',
    });
    expect(followed).toBe(false);
  });

  test('by https is believed only with a certificate that is trusted', async () => {
    const { certificate: cert, key } = makeAuthority().issue({ hosts: ['127.0.0.1'] });
    let asked = false;
    const at = await serve(
      () => {
        asked = true;
      },
      https.createServer({ cert, key }) as unknown as http.Server,
    );
    expect(await askExternal(`https://${at}/`)).toEqual({
      problem: expect.stringMatching(/^the operator does not trust its certificate \([A-Z_]+\)$/),
    });
    expect(asked).toBe(false);
  });

  test('with a port that cannot be is told from one that is not reached', async () => {
    expect(await askExternal('http://jwks.example.com:99999/')).toEqual({
      problem: 'it is no URL that can be asked',
    });
  });
});

describe('answers of external URLs', () => {
  const key = { namespace: 'team', name: 'demo' };
  const url = 'https://jwks.example.com/jwks.json';
  const one: ExternalAnswer = { keys: [{ ...point, kid: 'a' }] };
  const other: ExternalAnswer = { keys: [{ ...point, kid: 'b' }] };
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  function scene() {
    const asked: string[] = [];
    const changed: string[] = [];
    const pending: ((answer: ExternalAnswer) => void)[] = [];
    const clock = { now: t0 };
    const urls = createExternalURLs({
      ask: (text) => {
        asked.push(text);
        return new Promise((resolve) => pending.push(resolve));
      },
      now: () => clock.now,
      changed: ({ name }) => changed.push(name),
    });
    const answer = async (with_: ExternalAnswer) => {
      pending.shift()?.(with_);
      await turn();
    };
    return { urls, asked, changed, clock, answer };
  }

  test('are waited for once; later looks get the last one at once, and have it asked anew', async () => {
    const { urls, asked, changed, clock, answer } = scene();
    const first = urls.look(key, url);
    const second = urls.look(key, url);
    await answer(one);
    expect([await first, await second]).toEqual([one, one]);
    expect(await urls.look(key, url)).toEqual(one);
    expect(asked).toEqual([url]);

    clock.now += 10_000;
    expect(await urls.look(key, url)).toEqual(one);
    // It swallows packets: nobody waits for it, nor is it asked twice at a time.
    clock.now += 60_000;
    expect(await urls.look(key, url)).toEqual(one);
    expect(asked).toEqual([url, url]);
    expect(changed).toEqual([]);
    await answer(other);
    expect(changed).toEqual(['demo']);
    expect(await urls.look(key, url)).toEqual(other);
  });

  test('that are as before ask for no look', async () => {
    const { urls, changed, clock, answer } = scene();
    void urls.look(key, url);
    await answer(one);
    clock.now += 10_000;
    void urls.look(key, url);
    await answer(structuredClone(one));
    expect(changed).toEqual([]);
  });

  test('are those of the very URL, and of none that was taken away', async () => {
    const { urls, asked, answer } = scene();
    void urls.look(key, url);
    await answer(one);
    const elsewhere = urls.look(key, 'https://other.example.com/');
    await answer(other);
    expect(await elsewhere).toEqual(other);
    urls.forget(key);
    void urls.look(key, 'https://other.example.com/');
    expect(asked).toEqual([url, 'https://other.example.com/', 'https://other.example.com/']);
  });
});
