import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { askDirectly, askThroughProxy } from '../../../operator/observe/probe.ts';
import { FakeApiServer, failure } from './api-server.ts';
import { objectNamed } from './builders.ts';

const pod = { ...objectNamed('pod-1'), kind: 'Pod' };

let api: FakeApiServer;
beforeEach(async () => {
  api = await FakeApiServer.start();
});
afterEach(() => api.stop());

const ask = () => askThroughProxy(api.client())(pod);

describe('a server pod that is asked through the API server', () => {
  test('tells the keys that it serves', async () => {
    const point = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' };
    api.intercept = () => ({ code: 200, body: { keys: [{ ...point, kid: 'a', use: 'sig' }, { kid: 'b' }] } });
    expect(await ask()).toEqual({
      pod: 'pod-1',
      keys: [{ kid: 'a', ...point }, { kid: 'b' }],
      clockDifferenceMs: 0,
    });
    expect(api.seen.at(-1)?.path).toBe('/api/v1/namespaces/team/pods/pod-1:3200/proxy/.well-known/jwks.json');
  });

  test.each(['no JSON', '{}', '[]', 'null', '{"keys":null}', '{"keys":[null]}'])(
    'with the answer %s says that it is no JWK Set',
    async (body) => {
      api.intercept = () => ({ code: 200, body });
      expect(await ask()).toEqual({ pod: 'pod-1', problem: 'its answer is not a JWK Set' });
    },
  );

  test('that breaks the connection says so by its code', async () => {
    api.intercept = () => 'cut';
    expect(await ask()).toEqual({ pod: 'pod-1', problem: 'it cannot be reached (ECONNRESET)' });
  });

  test('tells the same each time, although the API server names another port', async () => {
    let port = 40_000;
    api.intercept = () =>
      failure(
        503,
        'ServiceUnavailable',
        `read tcp 10.0.0.1:${port++}->10.0.0.2:3200: connection reset by peer`,
      );
    expect(await ask()).toEqual(await ask());
  });

  test('with keys that have no kid says that it is no JWK Set', async () => {
    api.intercept = () => ({ code: 200, body: { keys: [{}] } });
    expect(await ask()).toEqual({ pod: 'pod-1', problem: 'its answer is not a JWK Set' });
  });
});

test('a server pod without an address says that it has none yet', async () => {
  expect(await askDirectly()(pod)).toEqual({ pod: 'pod-1', problem: 'it has no address yet' });
});
