import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { KubeConfig } from '@kubernetes/client-node';
import { ApiClient, ApiError, briefly, isStatus } from '../../../operator/cluster/client.ts';
import { resources } from '../../../operator/cluster/resources.ts';
import { FakeApiServer, failure } from './api-server.ts';
import { objectNamed } from './builders.ts';

const path = '/api/v1/namespaces/team/configmaps/a';

let api: FakeApiServer;
beforeEach(async () => {
  api = await FakeApiServer.start();
});
afterEach(() => api.stop());

const last = () => api.seen.at(-1) as (typeof api.seen)[0];
const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'it was resolved',
    (error) => error,
  );

describe('the API client', () => {
  test('reads an object as it is, members that nobody knows included', async () => {
    const stored = api.put(path, { ...objectNamed('a'), later: { unknown: [1, null] } });
    expect(await api.client().get(resources.configMaps, 'team', 'a')).toEqual(stored);
  });

  test('authenticates as the kubeconfig says', async () => {
    await api.client('the-token').find(resources.configMaps, 'team', 'a');
    expect(last().headers).toMatchObject({
      authorization: 'Bearer the-token',
      'user-agent': 'macp-auth-operator',
    });
  });

  test('finds nothing where there is nothing', async () => {
    expect(await api.client().find(resources.configMaps, 'team', 'a')).toBeUndefined();
  });

  test.each([401, 403, 409, 429, 500, 503])('never takes the answer %i for "there is none"', async (code) => {
    api.intercept = () => failure(code, 'Whatever', 'the reason why');
    const error = await rejection(api.client().find(resources.configMaps, 'team', 'a'));
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({ code, reason: 'Whatever', message: 'the reason why' });
    expect(isStatus(error, code)).toBe(true);
    expect(isStatus(error, 404)).toBe(false);
  });

  test('never takes a connection that breaks for "there is none"', async () => {
    api.intercept = () => 'cut';
    const error = await rejection(api.client().find(resources.configMaps, 'team', 'a'));
    expect(error).toMatchObject({ code: 'ECONNRESET' });
    expect(isStatus(error, 404)).toBe(false);
  });

  test.each(['', 'upstream timed out', '<html>'])(
    'tells the HTTP status of an answer that is no Status: %j',
    async (body) => {
      api.intercept = () => ({ code: 502, body: body || ' ' });
      const error = await rejection(api.client().get(resources.configMaps, 'team', 'a'));
      expect(error).toMatchObject({ code: 502, reason: 'Unknown', message: 'the API server answered 502' });
    },
  );

  test('creates with our field manager and strict validation', async () => {
    const created = await api.client().create(resources.configMaps, 'team', objectNamed('a'));
    expect(created.metadata).toMatchObject({ uid: expect.any(String), resourceVersion: expect.any(String) });
    expect(last()).toMatchObject({ method: 'POST', path: '/api/v1/namespaces/team/configmaps' });
    expect(Object.fromEntries(last().query)).toEqual({
      fieldManager: 'macp-auth-operator',
      fieldValidation: 'Strict',
    });
    const again = await rejection(api.client().create(resources.configMaps, 'team', objectNamed('a')));
    expect(isStatus(again, 409)).toBe(true);
  });

  test('replaces only what it has read', async () => {
    const stored = api.put(path, objectNamed('a'));
    api.put(path, objectNamed('a'));
    const error = await rejection(api.client().replace(resources.configMaps, stored));
    expect(isStatus(error, 409)).toBe(true);
    expect(last()).toMatchObject({ method: 'PUT', path });
  });

  test('applies on the server, by force, and a status by its subresource', async () => {
    await api
      .client()
      .apply(resources.configMaps, objectNamed('a', { uid: 'u' }))
      .catch(() => {});
    expect(last()).toMatchObject({ method: 'PATCH', path });
    expect(last().headers['content-type']).toBe('application/apply-patch+yaml');
    expect(Object.fromEntries(last().query)).toEqual({
      fieldManager: 'macp-auth-operator',
      fieldValidation: 'Strict',
      force: 'true',
    });
    await api.client().apply(resources.configMaps, objectNamed('a'), 'status');
    expect(last().path).toBe(`${path}/status`);
  });

  test('deletes this very object and no other of its name', async () => {
    const stored = api.put(path, objectNamed('a', { uid: 'first' }));
    api.put(path, objectNamed('a', { uid: 'second' }));
    await api.client().delete(resources.configMaps, stored);
    expect(api.objects.get(path)?.metadata.uid).toBe('second');
    await api.client().delete(resources.configMaps, api.objects.get(path) as typeof stored);
    expect(api.objects.has(path)).toBe(false);
    await api.client().delete(resources.configMaps, stored);
    expect(api.calls('DELETE')).toHaveLength(3);
  });

  test('tells of a deletion that was refused', async () => {
    api.intercept = () => failure(403, 'Forbidden');
    const error = await rejection(api.client().delete(resources.configMaps, objectNamed('a')));
    expect(isStatus(error, 403)).toBe(true);
  });

  test("asks a pod through the server's proxy", async () => {
    api.intercept = () => ({ code: 200, body: '{"keys":[]}' });
    const { signal } = new AbortController();
    const answer = await api.client().getFromPod('team', 'pod-1', 3200, '/jwks', signal);
    expect(await text(answer)).toBe('{"keys":[]}');
    expect(last().path).toBe('/api/v1/namespaces/team/pods/pod-1:3200/proxy/jwks');
  });

  test('gives up a request when it is told to', async () => {
    api.intercept = () => 'hang';
    const stop = new AbortController();
    const waiting = rejection(api.client().getFromPod('team', 'pod-1', 3200, '/jwks', stop.signal));
    stop.abort();
    expect(await waiting).toMatchObject({ name: 'AbortError' });
  });

  test('asks before each write, and sends none that is refused', async () => {
    let asked = 0;
    const client = api.client(undefined, {
      beforeWrite: () => {
        asked += 1;
        throw new Error('not now');
      },
    });
    const stored = api.put(path, objectNamed('a', { uid: 'u' }));
    const refused = await Promise.all([
      rejection(client.create(resources.configMaps, 'team', objectNamed('b'))),
      rejection(client.replace(resources.configMaps, stored)),
      rejection(client.apply(resources.configMaps, stored)),
      rejection(client.mergePatch(resources.configMaps, 'team', 'a', {})),
      rejection(client.delete(resources.configMaps, stored)),
    ]);
    expect(refused).toEqual(refused.map(() => new Error('not now')));
    expect(asked).toBe(5);
    expect(api.seen).toEqual([]);
    expect(await client.get(resources.configMaps, 'team', 'a')).toEqual(stored);
    expect(asked).toBe(5);
  });

  test('sends a write that is not refused, on a new connection and on one that was used', async () => {
    let asked = 0;
    const client = api.client('token', {
      beforeWrite: () => {
        asked += 1;
      },
    });
    for (const name of ['a', 'b', 'c']) await client.create(resources.configMaps, 'team', objectNamed(name));
    expect(api.objects.size).toBe(3);
    expect(asked).toBe(3);
  });

  test('asks only when a connection is there, as late as that may be', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    let asked = 0;
    const kubeConfig = new KubeConfig();
    const { port } = server.address() as AddressInfo;
    kubeConfig.loadFromClusterAndUser(
      { name: 'silent', server: `https://127.0.0.1:${port}`, skipTLSVerify: true },
      { name: 'operator' },
    );
    const client = new ApiClient(kubeConfig, {
      beforeWrite: () => {
        asked += 1;
      },
    });
    const writing = rejection(client.create(resources.configMaps, 'team', objectNamed('a')));
    const [socket] = (await once(server, 'connection')) as [Socket];
    // It greets, and waits for an answer that does not come.
    await once(socket, 'data');
    expect(asked).toBe(0);
    socket.destroy();
    expect(await writing).toMatchObject({ code: 'ECONNRESET' });
    expect(asked).toBe(0);
    server.close();
  });

  test('gives up a call that takes longer than it may', async () => {
    api.intercept = () => 'hang';
    const client = api.client(undefined, { timeoutMs: 20 });
    const error = await rejection(client.get(resources.configMaps, 'team', 'a'));
    expect(error).toMatchObject({ name: 'TimeoutError' });
    expect(briefly(error)).toBe('the API server did not answer: it took longer than 0.02 s');
  });
});
