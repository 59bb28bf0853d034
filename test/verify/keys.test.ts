import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type NamedKey, newKey, publicPart, sign } from './forge.ts';
import { proveItJudges, type Runtime, startRuntime } from './runtime.ts';
import { buildTimeoutMs } from './toolchain/runtime.ts';

const jwksTTLSeconds = 3;
const sender = 'agent://planner';
const accepted = { outcome: 'accepted' };
// The second where no key of the token's algorithm is known at all, as before a change of the algorithm.
const unknownKey = {
  code: 'UNAUTHENTICATED',
  reason: expect.stringMatching(/InvalidSignature|InvalidAlgorithm/),
};

// What the life of a key is planned by: how the runtime follows a changing JWKS. A server that is only data stands
// in for ours, since the subject is the runtime.
describe('the runtime and a JWKS that changes', () => {
  let first: NamedKey;
  let second: NamedKey;
  let server: Server;
  let runtime: Runtime;
  let served: { status: number; body: string };
  let fetches = 0;

  const publish = (...keys: NamedKey[]) => {
    served = { status: 200, body: JSON.stringify({ keys: keys.map(publicPart) }) };
  };
  const judge = async (key: NamedKey) => {
    const exp = Math.floor(Date.now() / 1000) + 300;
    const token = await sign(key, { iss: 'issuer', aud: 'audience', sub: sender, exp });
    return await runtime.judge({ token, sender });
  };
  /** Waits until the runtime has fetched again; it does so when a token comes after the end of the TTL. */
  const nextFetch = async () => {
    for (const before = fetches; fetches === before; await sleep(100)) await judge(first);
  };

  beforeAll(async () => {
    first = await newKey('ES256', 'first');
    second = await newKey('RS256', 'second');
    publish(first);
    server = createServer((_request, response) => {
      fetches++;
      response.writeHead(served.status, { 'content-type': 'application/json' }).end(served.body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const jwksURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    runtime = await startRuntime({ jwksURL, issuer: 'issuer', audience: 'audience', jwksTTLSeconds });
    const exp = Math.floor(Date.now() / 1000) + 300;
    const token = await sign(first, { iss: 'issuer', aud: 'audience', sub: sender, exp });
    await proveItJudges(runtime, { token, sender });
  }, buildTimeoutMs);

  afterAll(async () => {
    await runtime?.stop();
    server?.closeAllConnections();
    await new Promise((resolve) => server?.close(resolve));
  });

  it('refuses a key that was published after its last fetch, and fetches no sooner for it', async () => {
    await nextFetch();
    publish(first, second);
    const before = fetches;
    expect(await judge(second)).toMatchObject(unknownKey);
    expect(await judge(second)).toMatchObject(unknownKey);
    expect(await judge(first)).toEqual(accepted);
    expect(fetches).toBe(before);
  });

  it('accepts it, and the old one, one TTL later', async () => {
    await sleep(jwksTTLSeconds * 1000);
    expect(await judge(second)).toEqual(accepted);
    expect(await judge(first)).toEqual(accepted);
  });

  it.each([
    ['is empty', () => publish()],
    [
      'is an error page',
      () => {
        served = { status: 503, body: 'no' };
      },
    ],
  ])('goes on with the keys that it has while the JWKS %s', async (_what, breakIt) => {
    breakIt();
    const before = runtime.output().length;
    await nextFetch();
    expect(await judge(first)).toEqual(accepted);
    expect(await judge(second)).toEqual(accepted);
    expect(runtime.output().slice(before)).toMatch(/serving stale cached keys/);
  });

  it('refuses a withdrawn key from the next fetch on', async () => {
    publish(second);
    await nextFetch();
    expect(await judge(first)).toMatchObject(unknownKey);
    expect(await judge(second)).toEqual(accepted);
  });
});
