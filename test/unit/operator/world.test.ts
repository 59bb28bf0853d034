import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { followWorld } from '../../../operator/observe/world.ts';
import { FakeApiServer, failure } from './api-server.ts';
import { defaultSpec, issuerOf, until } from './builders.ts';

describe('the world of an operator', () => {
  let api: FakeApiServer;
  beforeEach(async () => {
    api = await FakeApiServer.start();
  });
  afterEach(() => api.stop());

  const follow = (namespaces: readonly string[] | undefined) =>
    followWorld({
      client: api.client(),
      namespaces,
      onChange: () => {},
      log: pino({ level: 'silent' }),
      signal: api.following.signal,
    });
  const refuse = (isRefused: (path: string) => boolean, code = 403) => {
    api.intercept = ({ path }) => (isRefused(path) ? failure(code, 'Whatever') : undefined);
  };
  const inDark = (path: string) => path.includes('/namespaces/dark');
  const aWhile = () => new Promise((resolve) => setTimeout(resolve, 300));

  test('is known although it has no role in one of its namespaces, of which it knows no issuers', async () => {
    refuse(inDark);
    const world = follow(['a', 'dark']);
    await until(world.synced);
    expect(world.knowsIssuers('a')).toBe(true);
    expect(world.knowsIssuers('dark')).toBe(false);
    expect(world.knowsIssuers('elsewhere')).toBe(false);
    expect(world.problem('dark')).toMatch(/may not list and watch/);
    expect(world.unseenSecrets()).toEqual(['dark']);
  });

  test.each<[string, readonly string[] | undefined, (path: string) => boolean, number]>([
    ['one of its namespaces fails to answer', ['a', 'dark'], inDark, 500],
    ['no namespace lets it', ['a', 'dark'], (path) => path.includes('/namespaces/'), 403],
    ['it may not follow one kind anywhere', ['a', 'dark'], (path) => path.endsWith('/secrets'), 403],
    ['it may not follow one kind in all namespaces', undefined, (path) => path.endsWith('/secrets'), 403],
  ])('is not known while %s', async (_, namespaces, isRefused, code) => {
    refuse(isRefused, code);
    const world = follow(namespaces);
    await aWhile();
    expect(world.synced()).toBe(false);
  });

  test('knows the issuers of every namespace where it follows all', async () => {
    const world = follow(undefined);
    expect(world.knowsIssuers('a')).toBe(false);
    expect(world.unseenSecrets()).toBe('all');
    await until(world.synced);
    expect(world.knowsIssuers('a')).toBe(true);
    expect(world.unseenSecrets()).toEqual([]);
  });

  test("of certificates' Secrets asks for metadata alone, and tells which issuers are to be looked at", async () => {
    const changed: string[] = [];
    const api1 = '/apis/auth.multiagentcoordinationprotocol.io/v1alpha1/namespaces/team/macpauthissuers';
    const server = { ...defaultSpec.server, tls: { secretName: 'web-tls' } };
    api.put(`${api1}/demo`, issuerOf({ server }));
    const world = followWorld({
      client: api.client(),
      namespaces: undefined,
      onChange: ({ name }) => changed.push(name),
      log: pino({ level: 'silent' }),
      signal: api.following.signal,
    });
    const isOfCertificates = ({ query }: { query: URLSearchParams }) =>
      query.get('fieldSelector') === 'type=kubernetes.io/tls';
    await until(() => world.synced() && api.watches.some(isOfCertificates));
    const accepted = api.seen.filter(isOfCertificates).map(({ headers }) => headers.accept);
    expect(accepted).toEqual([
      'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
      'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
    ]);
    const tell = (name: string, namespace = 'team') =>
      api.watches
        .find(isOfCertificates)
        ?.send('MODIFIED', { metadata: { name, namespace, uid: name, resourceVersion: '200' } });
    changed.length = 0;
    tell('another-tls');
    tell('web-tls', 'elsewhere');
    tell('web-tls');
    await until(() => changed.length > 0);
    expect(changed).toEqual(['demo']);
  });
});
