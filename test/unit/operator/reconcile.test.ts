import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { agentSecret } from '../../../operator/build/files.ts';
import { commonLabels } from '../../../operator/build/metadata.ts';
import { createLimiter } from '../../../operator/cluster/limiter.ts';
import { createMetrics } from '../../../operator/metrics.ts';
import { followWorld, type World } from '../../../operator/observe/world.ts';
import { type Context, reconcile } from '../../../operator/reconcile.ts';
import { FakeApiServer, failure } from './api-server.ts';
import { issuerOf, keyringOf, objectNamed, t0, until } from './builders.ts';

const log = pino({ level: 'silent' });
const issuer = issuerOf();
const secretIn = (namespace: string) => agentSecret(issuer, namespace, keyringOf());
const issuerPath =
  '/apis/auth.multiagentcoordinationprotocol.io/v1alpha1/namespaces/team/macpauthissuers/demo';
const secretPath = (namespace: string) => `/api/v1/namespaces/${namespace}/secrets/macp-auth.team.demo`;

describe('an operator for some namespaces', () => {
  let api: FakeApiServer;
  beforeEach(async () => {
    api = await FakeApiServer.start();
  });
  afterEach(() => api.stop());

  const follow = async (...namespaces: string[]): Promise<World> => {
    const client = api.client();
    const world = followWorld({ client, namespaces, onChange: () => {}, log, signal: api.following.signal });
    await until(world.synced);
    return world;
  };
  const look = (world: World, watchedNamespaces: string[]) => {
    const context: Context = {
      ...{ client: api.client(), world, watchedNamespaces, trustedNamespaces: ['team'], log },
      ...{ sidecarImage: 'sidecar', answers: new Map(), clean: new Set(), untold: new Set() },
      askPod: async ({ metadata }) => ({ pod: metadata.name, problem: 'it is not asked' }),
      askCertificate: async ({ metadata }) => ({ pod: metadata.name, problem: 'it is not asked' }),
      externalURLs: undefined,
      limit: createLimiter(2),
      now: () => t0,
      metrics: createMetrics(() => 0),
    };
    return reconcile(context, { namespace: 'team', name: 'demo' });
  };

  test('leaves what names an issuer in another one, of which it knows nothing', async () => {
    api.put(secretPath('a'), secretIn('a'));
    api.intercept = ({ path }) =>
      path.includes('/namespaces/team') ? failure(403, 'Forbidden', 'it may not') : undefined;
    const world = await follow('a');
    expect(await look(world, ['a'])).toBeUndefined();
    expect(api.objects.has(secretPath('a'))).toBe(true);
  });

  const namespaceWith = (deletionTimestamp?: string) => {
    const metadata = { name: 'team', ...(deletionTimestamp && { deletionTimestamp }) };
    api.put('/api/v1/namespaces/team', { apiVersion: 'v1', kind: 'Namespace', metadata });
  };
  const gone = '2026-03-01T00:00:00Z';

  test('lets an issuer go with its namespace, in which it may nothing else any more', async () => {
    namespaceWith();
    api.put(issuerPath, issuerOf({}, undefined, { deletionTimestamp: gone }));
    api.put(secretPath('a'), secretIn('a'));
    const world = await follow('team', 'a');
    namespaceWith(gone);
    api.intercept = ({ path }) =>
      /\/namespaces\/team\/(secrets|configmaps)/.test(path) ? failure(403, 'Forbidden') : undefined;
    expect(await look(world, ['team', 'a'])).toBeUndefined();
    expect(api.objects.get(issuerPath)?.metadata.finalizers).toEqual([]);
    expect(api.objects.has(secretPath('a'))).toBe(false);
  });

  test('lets an issuer go as soon as pods in its namespace go with that', async () => {
    namespaceWith();
    api.put(issuerPath, issuer);
    api.put(secretPath('a'), secretIn('a'));
    const serverLabels = commonLabels(issuer, 'jwks-server');
    const pod = objectNamed('server', { labels: serverLabels, deletionTimestamp: gone });
    api.put('/api/v1/namespaces/team/pods/server', { ...pod, kind: 'Pod' });
    const world = await follow('team', 'a');
    namespaceWith(gone);
    expect(await look(world, ['team', 'a'])).toBeUndefined();
    expect(api.objects.get(issuerPath)?.metadata.finalizers).toEqual([]);
    expect(api.objects.has(secretPath('a'))).toBe(false);
  });
});
