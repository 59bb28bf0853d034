import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { NameConflict } from '../../../operator/api/errors.ts';
import { annotations, issuerLabel, labels } from '../../../operator/api/names.ts';
import { type DistributeRequest, distribute } from '../../../operator/apply/distribute.ts';
import type { KeyringOutcome } from '../../../operator/apply/keyring.ts';
import { agentSecret } from '../../../operator/build/files.ts';
import { createLimiter } from '../../../operator/cluster/limiter.ts';
import type { KubeObject } from '../../../operator/cluster/resources.ts';
import { noChildren } from '../../../operator/observe/world.ts';
import { type Keyring, publicKeys } from '../../../operator/plan/keyring.ts';
import { severityOf } from '../../../operator/status/conditions.ts';
import { FakeApiServer, failure, type Seen } from './api-server.ts';
import { active, issuerOf, keyringOf, objectNamed, objectsOf, t0 } from './builders.ts';

const issuer = issuerOf();
const at = (namespace: string) => `/api/v1/namespaces/${namespace}/secrets/macp-auth.team.demo`;
const keyring = keyringOf({ namespaces: ['a', 'b'] });
const live = (one: Keyring): KeyringOutcome => ({
  judgement: { type: 'KeyringReady', reason: 'KeyringComplete', message: '' },
  events: [],
  keyring: one,
  publish: { keys: publicKeys(one), revision: one.revision },
});
const holding = (heldKeyring?: Keyring): KeyringOutcome => ({
  judgement: { type: 'KeyringReady', reason: 'KeyringStale', message: '' },
  events: [],
  ...(heldKeyring && { heldKeyring }),
});

let api: FakeApiServer;
beforeEach(async () => {
  api = await FakeApiServer.start();
});
afterEach(() => api.stop());

const run = (outcome: KeyringOutcome, more: Partial<DistributeRequest> = {}) =>
  distribute({
    client: api.client(),
    answers: new Map(),
    issuer,
    children: noChildren,
    agentSecrets: new Map(),
    selection: { selected: outcome.keyring?.namespaces ?? [], unselected: [], unknown: [] },
    keyring: outcome,
    clean: new Set(),
    limit: createLimiter(2),
    log: pino({}, { write: () => {} }),
    ...more,
  });
const secretIn = (namespace: string, one = keyring) =>
  api.put(at(namespace), agentSecret(issuer, namespace, one));
const inCache = (...secrets: KubeObject[]) =>
  new Map(secrets.map((secret) => [secret.metadata.namespace, secret]));
const isTo = (namespace: string, { method, path }: Seen) =>
  ['POST', 'PATCH'].includes(method) && path.startsWith(`/api/v1/namespaces/${namespace}/secrets`);

describe('what goes wrong in another namespace', () => {
  const stranger = (namespace: string) =>
    api.put(at(namespace), {
      ...objectNamed('macp-auth.team.demo', { namespace }),
      ...{ kind: 'Secret', type: 'Opaque' },
    });

  test("is a stranger's Secret, which is told, leaves the issuer Ready, and is not tried again at once", async () => {
    const theirs = stranger('a');
    const { judgement, namespaces, failures } = await run(live(keyring));
    expect(judgement).toMatchObject({
      reason: 'NamespaceConflict',
      message: expect.stringMatching(/in 2 of 3 namespaces\. a: Secret a\/macp-auth\.team\.demo exists/),
    });
    expect(severityOf(judgement)).toBe('warning');
    expect({ namespaces, failures }).toEqual({ namespaces: 2, failures: [] });
    expect(api.objects.get(at('a'))).toEqual(theirs);
    expect(api.objects.has(at('b'))).toBe(true);
  });

  test.each([
    [403, 0],
    [422, 0],
    [429, 1],
    [500, 1],
  ])('is the answer %i, tried again at once %i times', async (code, count) => {
    api.intercept = (seen) => (isTo('a', seen) ? failure(code, 'Whatever') : undefined);
    const { judgement, failures } = await run(live(keyring));
    expect(judgement.reason).toBe('NamespaceWriteFailed');
    expect(severityOf(judgement)).toBe('warning');
    expect(failures).toHaveLength(count);
  });

  test('is not what counts where its own namespace has a problem too', async () => {
    stranger('a');
    api.intercept = (seen) => (isTo('team', seen) ? failure(403, 'Forbidden') : undefined);
    const { judgement, failures } = await run(live(keyring));
    expect(judgement).toMatchObject({
      reason: 'WriteFailed',
      message: expect.stringMatching(/ team: .*; a: /),
    });
    expect(severityOf(judgement)).toBe('problem');
    expect(failures).toMatchObject([{ code: 403 }]);
  });

  test("a stranger's Secret in its own namespace is a problem, and tried again", async () => {
    stranger('team');
    const { judgement, failures } = await run(live(keyring));
    expect(judgement.reason).toBe('NameConflict');
    expect(severityOf(judgement)).toBe('problem');
    expect(failures).toEqual([expect.any(NameConflict)]);
    expect(api.objects.has(at('a'))).toBe(true);
  });
});

describe('the Secret of a deselected namespace goes', () => {
  const selection = { selected: [], unselected: ['a'], unknown: [] };
  const left = keyringOf({ deselected: [{ namespace: 'a', since: t0, keyIDs: [] }] });

  test('although the JWKS cannot be published', async () => {
    const agentSecrets = inCache(secretIn('a'));
    api.intercept = ({ path }) => (path.endsWith('/configmaps') ? failure(500, 'InternalError') : undefined);
    const { judgement } = await run(live(left), { selection, agentSecrets });
    expect(judgement.reason).toBe('WriteFailed');
    expect(api.objects.has(at('a'))).toBe(false);
    expect(api.calls('POST')).toEqual(['POST /api/v1/namespaces/team/configmaps']);
  });

  const known = keyringOf({ namespaces: ['a', 'b'] });
  const newest = keyringOf({ keys: [active()], namespaces: ['a', 'b'] });
  test.each<[string, Keyring, Keyring | undefined, boolean]>([
    ['with a held keyring that has its keys', known, undefined, true],
    ['with an older copy, where its own namespace has its keys', newest, newest, true],
  ])('%s', async (_, inSecret, own, goes) => {
    const agentSecrets = inCache(secretIn('a', inSecret), secretIn('b', inSecret));
    if (own) secretIn('team', own);
    await run(holding(known), { selection, agentSecrets });
    expect(api.objects.has(at('a'))).toBe(!goes);
    expect(api.objects.has(at('b'))).toBe(true);
    expect(api.calls('POST', 'PATCH', 'PUT')).toEqual([]);
  });

  test.each<[string, Keyring, Keyring | undefined]>([
    ['holds the last copy of a key', newest, known],
    ['is in a namespace that the older copy does not name', known, { ...known, namespaces: ['b'] }],
    ['may be needed to rebuild a keyring that is lost or unreadable', known, undefined],
  ])('not when it %s', async (_, inSecret, heldKeyring) => {
    secretIn('team');
    const agentSecrets = inCache(secretIn('a', inSecret));
    await run(holding(heldKeyring), { selection, agentSecrets });
    expect(api.calls('DELETE')).toEqual([]);
  });

  test('not when its own namespace cannot be read, which holds nothing else up', async () => {
    const agentSecrets = inCache(secretIn('a', newest));
    api.intercept = ({ path }) => (path === at('team') ? failure(500, 'InternalError') : undefined);
    const { judgement } = await run(holding(known), { selection, agentSecrets });
    expect(judgement.reason).toBe('KeyringNotReady');
    expect(api.calls('DELETE')).toEqual([]);
  });
});

describe('while the keyring is held', () => {
  const waits = 'waits for the keyring; what was distributed stays';
  const told = async (selected: string[], has: readonly string[]) => {
    const agentSecrets = inCache(...has.map((namespace) => secretIn(namespace)));
    const selection = { selected, unselected: [], unknown: [] };
    const { judgement } = await run(holding(keyring), { selection, agentSecrets });
    expect(judgement.reason).toBe('KeyringNotReady');
    expect(severityOf(judgement)).toBe('wait');
    return judgement.message;
  };

  test('a namespace that is selected, again or for the first time, gets no Secret, and is told of', async () => {
    expect(await told(['a', 'b', 'c'], ['team', 'b'])).toBe(
      `${waits}. Only then comes Secret macp-auth.team.demo to a, c`,
    );
    expect(api.calls('POST', 'PATCH', 'PUT')).toEqual([]);
  });

  test('so is its own namespace, and not all of many', async () => {
    expect(await told(['a', 'b', 'c', 'd'], [])).toBe(
      `${waits}. Only then comes Secret macp-auth.team.demo to team, a, b and 2 more`,
    );
  });

  test('nothing more is told where all have theirs', async () => {
    expect(await told(['a', 'b'], ['team', 'a', 'b'])).toBe(waits);
  });
});

describe('pods are made to look', () => {
  const older = keyringOf({ revision: 4, namespaces: ['a'] });
  const podAt = (namespace: string, name: string) => `/api/v1/namespaces/${namespace}/pods/${name}`;
  const pods = (namespace: string, count = 1) => {
    for (let i = 0; i < count; i += 1)
      api.put(podAt(namespace, `agent-${i}`), {
        ...objectNamed(`agent-${i}`, {
          namespace,
          labels: { [labels.issuer]: issuerLabel(issuer.metadata) },
        }),
        kind: 'Pod',
      });
  };
  const touched = () => api.calls('PATCH').filter((call) => call.includes('/pods/'));

  test('when their Secret changes; those that are over are not asked for', async () => {
    pods('a');
    const agentSecrets = inCache(secretIn('a', older));
    await run(live({ ...older, revision: 5 }), { agentSecrets });
    expect(touched()).toEqual([`PATCH ${podAt('a', 'agent-0')}`]);
    expect(api.objects.get(podAt('a', 'agent-0'))?.metadata.annotations).toEqual({
      [annotations.filesVersion]: expect.any(String),
    });
    const list = api.seen.find(({ path, method }) => method === 'GET' && path.endsWith('/a/pods'));
    expect(list?.query.get('fieldSelector')).toBe('status.phase!=Succeeded,status.phase!=Failed');
  });

  test('not when it is created, unless it was taken from them before', async () => {
    pods('a');
    pods('b');
    const deselected = [{ namespace: 'b', since: t0, keyIDs: [] }];
    await run(live(keyringOf({ namespaces: ['a', 'b'], deselected })));
    expect(touched()).toEqual([`PATCH ${podAt('b', 'agent-0')}`]);
  });

  test('when it is created for servers that were there before, as those of an issuer that was deleted', async () => {
    pods('team');
    const serverPods = [objectNamed('agent-0', { namespace: 'team' })];
    await run(live(keyringOf()), { children: { ...noChildren, serverPods } });
    expect(touched()).toEqual([`PATCH ${podAt('team', 'agent-0')}`]);
  });

  test('not when the spec changed in what no file tells', async () => {
    pods('a');
    const agentSecrets = inCache(secretIn('a', older));
    const next = issuerOf({}, undefined, { generation: 4 });
    await run(live(older), { agentSecrets, issuer: next });
    expect(api.objects.get(at('a'))?.metadata.annotations?.[annotations.issuerGeneration]).toBe(
      'issuer-uid/4',
    );
    expect(touched()).toEqual([]);
  });

  test('when the JWKS alone changes beside a Secret that is created', async () => {
    pods('team');
    const { configMap } = objectsOf(issuer, older);
    const stored = api.put('/api/v1/namespaces/team/configmaps/macp-auth-demo', configMap);
    await run(live(keyringOf({ keys: older.keys })), { children: { ...noChildren, configMap: stored } });
    expect(touched()).toEqual([`PATCH ${podAt('team', 'agent-0')}`]);
  });

  test('a few at a time, in many namespaces that all wait for their turn', async () => {
    const namespaces = ['a', 'b', 'c', 'd'];
    const many = { ...older, namespaces };
    for (const namespace of namespaces) pods(namespace, 10);
    const agentSecrets = inCache(...namespaces.map((namespace) => secretIn(namespace, many)));
    let running = 0;
    let most = 0;
    const two = createLimiter(2);
    await run(live({ ...many, revision: 5 }), {
      agentSecrets,
      limit: (work) =>
        two(async () => {
          running += 1;
          most = Math.max(most, running);
          return work().finally(() => {
            running -= 1;
          });
        }),
    });
    expect(touched()).toHaveLength(40);
    expect(most).toBe(2);
  });
});
