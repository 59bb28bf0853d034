import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { NameConflict, Superseded } from '../../../operator/api/errors.ts';
import { annotations, finalizer, labels, type MacpAuthIssuer } from '../../../operator/api/names.ts';
import { type Answers, applyChild, applyDerived } from '../../../operator/apply/children.ts';
import { addFinalizer, cleanUpAfter, finalize, leaveNamespace } from '../../../operator/apply/finalize.ts';
import { settleKeyring } from '../../../operator/apply/keyring.ts';
import { agentSecret as secretFor } from '../../../operator/build/files.ts';
import { generationOf, isOurs, revisionOf } from '../../../operator/build/metadata.ts';
import { serverService } from '../../../operator/build/server.ts';
import { type KubeObject, type Resource, resources } from '../../../operator/cluster/resources.ts';
import { noChildren } from '../../../operator/observe/world.ts';
import type { AgentNamespaces } from '../../../operator/plan/agents.ts';
import { decodeKeyring } from '../../../operator/plan/codec.ts';
import { activeKey, type Keyring, publicKeys } from '../../../operator/plan/keyring.ts';
import { FakeApiServer, failure } from './api-server.ts';
import {
  defaultSpec,
  firstRevision,
  issuerOf,
  keyringOf,
  minute,
  objectNamed,
  objectsOf,
  ownAgents,
  privateValues,
  t0,
  tracesOf,
} from './builders.ts';

const paths = {
  issuer: '/apis/auth.multiagentcoordinationprotocol.io/v1alpha1/namespaces/team/macpauthissuers/demo',
  keyring: '/api/v1/namespaces/team/secrets/macp-auth-keyring.demo',
  agentSecret: '/api/v1/namespaces/team/secrets/macp-auth.team.demo',
  configMap: '/api/v1/namespaces/team/configmaps/macp-auth-demo',
  service: '/api/v1/namespaces/team/services/macp-auth-demo',
};

let api: FakeApiServer;
let answers: Answers;
beforeEach(async () => {
  api = await FakeApiServer.start();
  answers = new Map();
});
afterEach(() => api.stop());

const issuer = issuerOf();
const writes = () => api.calls('POST', 'PUT', 'PATCH', 'DELETE');
const request = (resource: Resource, desired: KubeObject, observed?: KubeObject, by = issuer) => ({
  client: api.client(),
  issuer: by,
  resource,
  desired,
  observed,
  answers,
});
const configMapOf = (keyring: Keyring, by: MacpAuthIssuer = issuer) => objectsOf(by, keyring).configMap;
const older = keyringOf({ revision: 4 });
const newer = keyringOf({ revision: 5 });

describe('an object that derives from the keyring', () => {
  const derive = (keyring: Keyring, observed?: KubeObject, by = issuer) =>
    applyDerived(request(resources.configMaps, configMapOf(keyring, by), observed, by));

  test('is created by POST, so that two operators never both create it', async () => {
    await derive(older);
    expect(writes()).toEqual(['POST /api/v1/namespaces/team/configmaps']);
    expect(api.objects.get(paths.configMap)?.metadata.annotations?.[annotations.revision]).toBe('4');
  });

  test('that is as it should be is no request at all', async () => {
    await derive(older);
    const before = api.seen.length;
    await derive(older, api.objects.get(paths.configMap));
    expect(api.seen).toHaveLength(before);
  });

  test('that is as it should be is no write, although the cache lags or lacks it', async () => {
    await derive(older);
    const lagging = api.objects.get(paths.configMap);
    await derive(newer, lagging);
    const before = writes().length;
    await derive(newer, lagging);
    await derive(newer);
    expect(writes().slice(before)).toEqual(['POST /api/v1/namespaces/team/configmaps']);
  });

  test('goes to a newer revision by its resourceVersion and uid', async () => {
    await derive(older);
    const stored = api.objects.get(paths.configMap) as KubeObject;
    await derive(newer, stored);
    const { metadata } = JSON.parse(api.seen.at(-1)?.body ?? '') as KubeObject;
    expect(metadata).toMatchObject({
      uid: stored.metadata.uid,
      resourceVersion: stored.metadata.resourceVersion,
    });
    expect(api.objects.get(paths.configMap)?.metadata.annotations?.[annotations.revision]).toBe('5');
  });

  test.each([
    ['knows', true],
    ['does not know', false],
  ])('never goes back, whether a paused operator %s the newer one or not', async (_, cached) => {
    await derive(keyringOf({ revision: 3 }));
    const before = api.objects.get(paths.configMap);
    await derive(newer, before);
    const after = structuredClone(api.objects.get(paths.configMap));
    await expect(derive(older, cached ? after : before)).rejects.toBeInstanceOf(Superseded);
    await expect(derive(older)).rejects.toBeInstanceOf(Superseded);
    expect(api.objects.get(paths.configMap)).toEqual(after);
  });

  test('is left to the one who changed it between our look and our write', async () => {
    await derive(older);
    const before = api.objects.get(paths.configMap);
    api.afterwards = ({ method, path }) => {
      if (method === 'GET' && path === paths.configMap) api.put(paths.configMap, before as KubeObject);
    };
    await expect(derive(newer, before)).rejects.toBeInstanceOf(Superseded);
    expect(api.objects.get(paths.configMap)?.metadata.annotations?.[annotations.revision]).toBe('4');
  });

  test('is drift that is repaired, whoever changed it', async () => {
    await derive(newer);
    const stored = api.objects.get(paths.configMap) as KubeObject;
    const drifted = api.put(paths.configMap, {
      ...stored,
      data: { ...(stored.data as object), 'jwks.json': '{}' },
    });
    await derive(newer, drifted);
    expect(api.objects.get(paths.configMap)?.data).toEqual(stored.data);
  });

  describe('of the same revision', () => {
    const bySpec = (generation: number, max: string, uid = 'issuer-uid') =>
      issuerOf({ ttl: { default: '5m', max } }, undefined, { generation, uid });
    const wide = bySpec(3, '24h');
    const narrow = bySpec(4, '1h');
    const write = (by: MacpAuthIssuer, observed?: KubeObject) =>
      applyDerived(request(resources.secrets, objectsOf(by, newer).agentSecret, observed, by));
    const stored = () => structuredClone(api.objects.get(paths.agentSecret)) as KubeObject;

    test.each([
      ['knows', true],
      ['does not know', false],
    ])(
      'never goes back to an older spec, whether a paused operator %s the newer or not',
      async (_, cached) => {
        await write(bySpec(2, '2h'));
        const before = stored();
        await write(narrow, before);
        api.put(paths.issuer, narrow);
        const after = stored();
        await expect(write(wide, cached ? after : before)).rejects.toBeInstanceOf(Superseded);
        await expect(write(wide)).rejects.toBeInstanceOf(Superseded);
        expect(stored()).toEqual(after);
      },
    );

    test('follows the spec, and then is no write', async () => {
      await write(wide);
      const written = await write(narrow, stored());
      expect(written).toMatchObject({ created: false, filesChanged: true });
      const before = writes().length;
      expect(await write(narrow, stored())).toBeUndefined();
      expect(writes()).toHaveLength(before);
    });

    const current = (generation: number, max: string, at: number, status: 'True' | 'False' = 'True') => {
      const reason = status === 'True' ? 'AllNamespacesCurrent' : 'NamespaceWriteFailed';
      const condition = { type: 'Distributed', status, reason, message: '', lastTransitionTime: '' };
      return issuerOf(
        { ttl: { default: '5m', max } },
        { conditions: [{ ...condition, observedGeneration: at }] },
        { generation, uid: 'issuer-uid' },
      );
    };

    test('stays as it is through specs that change no file, each of which was acted on', async () => {
      await write(narrow);
      const before = writes().length;
      for (const generation of [5, 6, 7]) {
        const next = current(generation, '1h', generation - 1);
        api.put(paths.issuer, next);
        expect(await write(next, stored())).toBeUndefined();
        expect(writes()).toHaveLength(before);
      }
      expect(generationOf(stored(), 'issuer-uid')).toBe(4);
      await expect(write(wide, stored())).rejects.toBeInstanceOf(Superseded);
      // A spec with other files, and one that was not acted on in between, are noted.
      const other = current(8, '2h', 7);
      api.put(paths.issuer, other);
      expect(await write(other, stored())).toMatchObject({ filesChanged: true });
      expect(generationOf(stored(), 'issuer-uid')).toBe(8);
    });

    test.each([
      ['nothing tells that all was current', bySpec(5, '1h')],
      ['not all was current for the spec before', current(5, '1h', 4, 'False')],
      ['a spec lies between that was not acted on', current(6, '1h', 4)],
    ])('names the spec, although no file changes, where %s', async (_, next) => {
      await write(narrow);
      // Otherwise an operator in between could write what it knows.
      expect(await write(next, stored())).toMatchObject({ created: false, filesChanged: false });
      expect(generationOf(stored(), 'issuer-uid')).toBe(next.metadata.generation);
    });

    test('is given older files by nobody who lags, whichever specs there were and were acted on', async () => {
      const edit = fc.record({ max: fc.constantFrom('1h', '2h'), actedOn: fc.boolean() });
      await fc.assert(
        fc.asyncProperty(fc.array(edit, { minLength: 2, maxLength: 8 }), async (edits) => {
          api.objects.clear();
          let acted = 0;
          const specs: MacpAuthIssuer[] = [];
          for (const [i, { max, actedOn }] of [...edits, { max: '1h', actedOn: true }].entries()) {
            const spec = acted === 0 ? bySpec(i + 1, max) : current(i + 1, max, acted);
            api.put(paths.issuer, spec);
            specs.push(spec);
            if (!actedOn) continue;
            await write(spec, api.objects.get(paths.agentSecret));
            acted = i + 1;
          }
          const { data } = stored();
          for (const spec of specs) {
            await write(spec, stored()).catch((error) => expect(error).toBeInstanceOf(Superseded));
            expect(stored().data).toEqual(data);
          }
        }),
        { numRuns: 40 },
      );
    });

    test.each([
      ['a generation that there never was', narrow, 'issuer-uid/99'],
      ['a generation that is none', narrow, 'issuer-uid/99x'],
      ['the generation of an earlier issuer', bySpec(1, '1h', 'second'), 'issuer-uid/99'],
    ])('is written although it is annotated with %s', async (_, by, annotation) => {
      api.put(paths.issuer, by);
      const { metadata, ...rest } = objectsOf(wide, newer).agentSecret;
      const annotated = { ...metadata.annotations, [annotations.issuerGeneration]: annotation };
      await write(
        by,
        api.put(paths.agentSecret, { ...rest, metadata: { ...metadata, annotations: annotated } }),
      );
      const { uid, generation } = by.metadata;
      expect(stored().metadata.annotations?.[annotations.issuerGeneration]).toBe(`${uid}/${generation}`);
    });

    test.each([
      ['is gone', undefined],
      ['is another one', bySpec(1, '1h', 'second')],
    ])('stays as it is where the issuer %s', async (_, now) => {
      await write(narrow);
      if (now) api.put(paths.issuer, now);
      await expect(write(wide, stored())).rejects.toBeInstanceOf(Superseded);
    });
  });

  describe('in a namespace of others', () => {
    const elsewhere = '/api/v1/namespaces/b/secrets/macp-auth.team.demo';
    const write = (keyring: Keyring, observed?: KubeObject) =>
      applyDerived({
        ...request(resources.secrets, secretFor(issuer, 'b', keyring), observed),
        keyringRevision: async () => revisionOf(api.objects.get(paths.keyring)),
      });
    const forge = (change: Partial<KubeObject>, annotation = '99999') => {
      const { metadata, ...rest } = secretFor(issuer, 'b', older);
      const annotated = { ...metadata, annotations: { [annotations.revision]: annotation } };
      return api.put(elsewhere, { ...rest, metadata: annotated, ...change });
    };

    test('is written although somebody there named a revision that there never was', async () => {
      api.put(paths.keyring, objectsOf(issuer, newer).keyring);
      await write(newer, forge({}));
      expect(revisionOf(api.objects.get(elsewhere))).toBe(5);
    });

    test('never goes back from a revision that the keyring proves', async () => {
      api.put(paths.keyring, objectsOf(issuer, newer).keyring);
      const stored = forge({}, '5');
      await expect(write(older, stored)).rejects.toBeInstanceOf(Superseded);
      expect(api.objects.get(elsewhere)).toEqual(stored);
    });

    test("of another type is a stranger's, whatever labels it has", async () => {
      const stranger = forge({ type: 'Opaque' });
      await expect(write(newer)).rejects.toBeInstanceOf(NameConflict);
      expect(api.objects.get(elsewhere)).toEqual(stranger);
    });
  });

  test("of a stranger is a conflict, and stays the stranger's", async () => {
    const stranger = api.put(paths.configMap, objectNamed('macp-auth-demo'));
    await expect(derive(newer)).rejects.toThrow(NameConflict);
    expect(api.objects.get(paths.configMap)).toEqual(stranger);
  });

  test.each([401, 403, 500, 503])('is no success when the API server answers %i', async (code) => {
    api.intercept = () => failure(code, 'Whatever');
    await expect(derive(newer)).rejects.toMatchObject({ code });
  });
});

describe('a child', () => {
  const apply = (desired: KubeObject, observed?: KubeObject) =>
    applyChild(request(resources.services, desired, observed));
  const service = (annotated?: Record<string, string>) =>
    serverService(
      issuerOf({
        server: {
          ...defaultSpec.server,
          service: { type: 'ClusterIP', ...(annotated && { annotations: annotated }) },
        },
      }),
    );

  test('is applied once, and then no more', async () => {
    await apply(service());
    await apply(service(), api.objects.get(paths.service));
    await apply(service());
    expect(writes()).toEqual([`PATCH ${paths.service}`]);
  });

  test('shows by its hash that a field of ours is no longer wished', async () => {
    await apply(service({ cloud: 'internal' }));
    await apply(service(), api.objects.get(paths.service));
    expect(writes()).toHaveLength(2);
  });

  test('of a stranger is a conflict, although the cache, which holds our objects only, lacks it', async () => {
    const stranger = api.put(paths.service, { ...objectNamed('macp-auth-demo'), kind: 'Service' });
    await expect(apply(service())).rejects.toThrow(
      new NameConflict(
        "Service team/macp-auth-demo exists and is not this issuer's: delete or rename it, or give the issuer another name",
      ),
    );
    expect(api.objects.get(paths.service)).toEqual(stranger);
  });
});

describe('an object is ours', () => {
  const owner = { apiVersion: 'x', kind: 'MacpAuthIssuer', name: 'demo', uid: 'issuer-uid' };
  test.each([
    ['by its label', objectNamed('a', { labels: { [labels.issuer]: 'team.demo' } }), {}, true],
    ['by its owner', objectNamed('a', { ownerReferences: [owner] }), {}, true],
    [
      'by the type of Secret that only we make',
      { ...objectNamed('a'), type: 'ours' },
      { type: 'ours' },
      true,
    ],
    [
      "not with another issuer's label",
      objectNamed('a', { labels: { [labels.issuer]: 'team.other' } }),
      {},
      false,
    ],
    [
      'not with another owner',
      objectNamed('a', { ownerReferences: [{ ...owner, uid: 'other' }] }),
      {},
      false,
    ],
    ['not by another type', { ...objectNamed('a'), type: 'Opaque' }, { type: 'ours' }, false],
    ['not by its name alone', objectNamed('a'), {}, false],
  ])('%s', (_, object, desired, expected) => {
    expect(isOurs(object, desired, issuer)).toBe(expected);
  });
});

describe('the keyring Secret', () => {
  const settle = (by = issuer, children = noChildren, now = t0, agents = ownAgents) =>
    settleKeyring({
      client: api.client(),
      issuer: by,
      children,
      agents,
      watchedNamespaces: undefined,
      served: [],
      now,
    });
  const { keyring: secret, configMap, agentSecret } = objectsOf(issuer, newer);

  test('is created before anything may derive from it', async () => {
    api.put(paths.issuer, issuer);
    const outcome = await settle();
    expect(writes()).toEqual(['POST /api/v1/namespaces/team/secrets']);
    expect(outcome).toMatchObject({
      judgement: { reason: 'KeyringComplete' },
      keyring: { revision: firstRevision(t0) },
    });
    expect(outcome.events.map(({ reason }) => reason)).toEqual(['KeyringCreated']);
    expect(outcome.publish?.keys).toEqual(publicKeys(outcome.keyring as Keyring));
    const said = JSON.stringify([outcome.judgement, outcome.events, outcome.publish]);
    for (const value of (outcome.keyring as Keyring).keys.flatMap(privateValues))
      expect(said).not.toContain(value);
  });

  test('that is whole is read and not written', async () => {
    api.put(paths.issuer, issuer);
    api.put(paths.keyring, secret);
    const outcome = await settle();
    expect(outcome.keyring).toEqual(newer);
    expect(writes()).toEqual([]);
  });

  describe('of an issuer with agents in other namespaces', () => {
    const space = (name: string, labels: Record<string, string> = {}, deletionTimestamp?: string) => {
      const metadata = { name, labels, ...(deletionTimestamp && { deletionTimestamp }) };
      api.put(`/api/v1/namespaces/${name}`, { apiVersion: 'v1', kind: 'Namespace', metadata });
    };
    const cached = {
      ...ownAgents,
      selector: { matchLabels: { team: 'red' } },
      selected: ['new'],
      unselected: ['old', 'other'],
    };
    const settleWith = async (agents: AgentNamespaces = cached) => {
      api.put(paths.issuer, issuer);
      api.put(paths.keyring, objectsOf(issuer, keyringOf({ namespaces: ['old'] })).keyring);
      const { keyring } = await settle(issuer, noChildren, t0, agents);
      return {
        namespaces: keyring?.namespaces,
        deselected: keyring?.deselected.map(({ namespace }) => namespace),
      };
    };
    const red = { team: 'red' };
    const refuse = (code: number) => {
      const isNamespace = (path: string) => /^\/api\/v1\/namespaces\/(new|old)$/.test(path);
      api.intercept = ({ path }) => (isNamespace(path) ? failure(code, 'Whatever') : undefined);
    };

    test('notes what the cache says where it is so still', async () => {
      space('new', red);
      space('old');
      expect(await settleWith()).toEqual({ namespaces: ['new'], deselected: ['old'] });
      expect(api.calls('GET')).not.toContain('GET /api/v1/namespaces/other');
    });

    test('goes by the labels of now where the cache lags', async () => {
      space('new');
      space('old', red);
      expect(await settleWith()).toEqual({ namespaces: ['old'], deselected: [] });
      expect(writes()).toEqual([]);
    });

    test('forgets one that goes', async () => {
      space('new', red, '2026-03-01T00:00:00Z');
      expect(await settleWith()).toEqual({ namespaces: [], deselected: [] });
    });

    test('changes nothing by an outage, and goes by the cache where it may not look', async () => {
      refuse(500);
      expect(await settleWith()).toEqual({ namespaces: ['old'], deselected: [] });
      refuse(403);
      expect(await settleWith()).toEqual({ namespaces: ['new'], deselected: ['old'] });
    });

    test('takes away without a look at labels what no selector selects', async () => {
      refuse(500);
      const { selector: _, ...none } = { ...cached, selected: [] };
      expect(await settleWith(none)).toEqual({ namespaces: [], deselected: ['old'] });
    });
  });

  test('is created by one of two operators; the other looks again and takes those very keys', async () => {
    api.put(paths.issuer, issuer);
    const both = await Promise.allSettled([settle(), settle()]);
    const won = both.filter((one) => one.status === 'fulfilled');
    const lost = both.filter((one) => one.status === 'rejected');
    for (const { reason } of lost) expect(reason).toBeInstanceOf(Superseded);
    const again = await settle();
    expect(won.length).toBeGreaterThan(0);
    for (const { value } of won) expect(value.keyring).toEqual(again.keyring);
    expect(api.calls('POST').length).toBeGreaterThan(0);
  });

  test('that another operator replaced between look and write is left as it is', async () => {
    api.put(paths.issuer, issuer);
    const short = keyringOf({ keys: newer.keys.slice(0, 1) });
    api.put(paths.keyring, objectsOf(issuer, short).keyring);
    api.afterwards = ({ method, path }) => {
      if (method === 'GET' && path === paths.keyring) api.put(paths.keyring, secret);
    };
    await expect(settle()).rejects.toBeInstanceOf(Superseded);
    expect(api.objects.get(paths.keyring)?.data).toEqual(secret.data);
  });

  test('that was lost is rebuilt from the live agent Secret, and the same key signs', async () => {
    api.put(paths.issuer, issuer);
    api.put(paths.agentSecret, agentSecret);
    api.put(paths.configMap, configMap);
    const outcome = await settle(issuer, noChildren, t0 + minute);
    expect(outcome.events).toMatchObject([{ type: 'Warning', reason: 'KeyringRebuilt' }]);
    expect(activeKey(outcome.keyring as Keyring, t0 + minute)?.kid).toBe(newer.keys[0]?.kid);
  });

  const holds: [string, () => void, string][] = [
    ['lost', () => api.put(paths.configMap, configMap), 'KeyringLost'],
    ['unreadable', () => api.put(paths.keyring, { ...secret, data: {} }), 'KeyringUnreadable'],
    ["a stranger's", () => api.put(paths.keyring, { ...secret, type: 'Opaque' }), 'KeyringNameConflict'],
  ];
  test.each(holds)('that is %s is not written, and nothing is derived', async (_, arrange, reason) => {
    api.put(paths.issuer, issuer);
    arrange();
    const outcome = await settle();
    expect(outcome.judgement.reason).toBe(reason);
    expect(outcome.keyring).toBeUndefined();
    // Nothing else than what is published already.
    const told = outcome.publish?.keys ?? publicKeys(newer);
    expect(told).toEqual(publicKeys(newer));
    expect(writes()).toEqual([]);
  });

  test('that is an older copy is not written, and the union is published under the revision in use', async () => {
    const children = { ...noChildren, configMap, agentSecret };
    api.put(paths.keyring, objectsOf(issuer, older).keyring);
    api.put(paths.issuer, issuer);
    api.put(paths.configMap, configMap);
    api.put(paths.agentSecret, agentSecret);
    const outcome = await settle(issuer, children);
    expect(outcome).toMatchObject({
      judgement: { reason: 'KeyringStale' },
      publish: { revision: 5, keys: [...publicKeys(older), ...tracesOf(newer).published] },
    });
    expect(outcome.keyring).toBeUndefined();
    expect(writes()).toEqual([]);
  });

  test.each([403, 500, 503])(
    'that cannot be read (%i) is a failure to retry, and no new key',
    async (code) => {
      api.intercept = () => failure(code, 'Whatever', 'the reason why');
      const outcome = await settle();
      expect(outcome).toMatchObject({
        judgement: {
          reason: 'KeyringAccessFailed',
          // A server's own failure may be told in other words each time: that is for the log.
          message: expect.stringContaining(code < 500 ? 'the reason why' : `answered ${code} Whatever`),
        },
        failure: { code },
      });
      expect(writes()).toEqual([]);
    },
  );
});

describe('the end of an issuer', () => {
  const { keyring, configMap, agentSecret } = objectsOf(issuer, newer);
  const dying = (deletionPolicy: 'Retain' | 'Delete', uid = 'issuer-uid') =>
    issuerOf({ deletionPolicy }, undefined, { uid, deletionTimestamp: '2026-03-02T00:00:00Z' });
  const end = (cached: MacpAuthIssuer, watchedNamespaces?: string[]) =>
    finalize({ client: api.client(), issuer: cached, watchedNamespaces, now: t0 });
  // What the cache holds of an issuer that the server stores.
  const stored = (some: MacpAuthIssuer) => api.put(paths.issuer, some) as unknown as MacpAuthIssuer;
  const has = () => {
    api.put(paths.keyring, keyring);
    api.put(paths.agentSecret, agentSecret);
    api.put(paths.configMap, configMap);
  };

  test.each([
    ['Retain', true],
    ['Delete', false],
  ] as const)('with %s takes the agent Secret away; the keyring stays: %j', async (policy, stays) => {
    has();
    await end(stored(dying(policy)));
    expect(api.objects.has(paths.agentSecret)).toBe(false);
    expect(api.objects.has(paths.keyring)).toBe(stays);
    expect(api.objects.get(paths.issuer)?.metadata.finalizers).toEqual([]);
  });

  describe('in other namespaces', () => {
    const at = (namespace: string) => `/api/v1/namespaces/${namespace}/secrets/macp-auth.team.demo`;
    const inAll = (namespaces: readonly string[], change: Partial<KubeObject> = {}) => {
      for (const namespace of namespaces)
        api.put(at(namespace), { ...secretFor(issuer, namespace, newer), ...change });
    };

    test.each([
      ['all namespaces', undefined],
      ['some', ['team', 'b', 'c', 'gone']],
    ])('takes its Secrets away, for an operator for %s', async (_, watched) => {
      has();
      inAll(['b', 'c']);
      const other = api.put(at('c').replace('demo', 'other'), {
        ...secretFor(issuerOf({}, undefined, { name: 'other' }), 'c', newer),
      });
      await end(stored(dying('Retain')), watched);
      expect([...api.objects.keys()].filter((path) => path.endsWith('macp-auth.team.demo'))).toEqual([]);
      expect(api.objects.get(at('c').replace('demo', 'other'))).toEqual(other);
    });

    test.each(['list', 'DELETE'])('is not held up by one where it may not %s', async (verb) => {
      has();
      inAll(['b', 'c']);
      api.intercept = ({ method, path }) => {
        const isForbidden = method === verb || (verb === 'list' && path.endsWith('/secrets'));
        return isForbidden && path.startsWith('/api/v1/namespaces/b/')
          ? failure(403, 'Forbidden')
          : undefined;
      };
      await end(stored(dying('Retain')), ['team', 'b', 'c']);
      expect([at('team'), at('b'), at('c')].map((path) => api.objects.has(path))).toEqual([
        false,
        true,
        false,
      ]);
      expect(api.objects.get(paths.issuer)?.metadata.finalizers).toEqual([]);
    });

    test.each([
      ['all namespaces', undefined],
      ['some', ['team', 'b', 'c', 'd', 'gone']],
    ])('finds those that lost their labels by its keyring, for an operator for %s', async (_, watched) => {
      const keyIDs = newer.keys.slice(0, 1).map(({ kid }) => kid);
      const deselected = [{ namespace: 'c', since: t0, keyIDs }];
      const knowing = { ...newer, namespaces: ['b', 'd', 'gone', 'elsewhere'], deselected };
      has();
      api.put(paths.keyring, objectsOf(issuer, knowing).keyring);
      for (const namespace of ['b', 'c', 'd']) {
        const { metadata, ...rest } = secretFor(issuer, namespace, newer);
        api.put(at(namespace), { ...rest, metadata: { ...metadata, labels: {} } });
      }
      api.intercept = ({ path }) => (path === at('d') ? failure(403, 'Forbidden') : undefined);
      await end(stored(dying('Retain')), watched);
      expect(['b', 'c', 'd'].map((namespace) => api.objects.has(at(namespace)))).toEqual([
        false,
        false,
        true,
      ]);
      expect(api.calls('GET').includes(`GET ${at('elsewhere')}`)).toBe(watched === undefined);
      expect(api.objects.get(paths.issuer)?.metadata.finalizers).toEqual([]);
    });

    test('leaves the Secrets of strangers', async () => {
      has();
      inAll(['b'], { type: 'Opaque' });
      await end(stored(dying('Retain')));
      expect(api.objects.has(at('b'))).toBe(true);
    });

    test('keeps theirs where the keyring is not whole and its own namespace has none', async () => {
      inAll(['b', 'c']);
      api.put(paths.keyring, { ...keyring, data: { 'keyring.json': 'e30=' } });
      expect(await end(stored(dying('Retain')))).toMatchObject({ reason: 'AgentSecretRetained' });
      const left = [at('b'), at('c')].map((path) => api.objects.get(path) as KubeObject);
      api.objects.delete(paths.issuer);
      await cleanUpAfter(api.client(), { namespace: 'team', name: 'demo' }, left);
      expect(left.map(({ metadata }) => api.objects.has(at(metadata.namespace)))).toEqual([true, true]);
    });

    test('comes before its own where its namespace goes, without waiting to be deleted itself', async () => {
      has();
      inAll(['b']);
      const there = stored(issuer);
      await leaveNamespace({ client: api.client(), issuer: there, watchedNamespaces: undefined });
      expect(api.objects.has(at('b'))).toBe(false);
      expect(api.objects.get(paths.issuer)?.metadata.finalizers).toEqual([]);
      const before = writes().length;
      const left = api.objects.get(paths.issuer) as unknown as MacpAuthIssuer;
      await leaveNamespace({ client: api.client(), issuer: left, watchedNamespaces: undefined });
      expect(writes()).toHaveLength(before);
    });
  });

  test('with Retain and a lost keyring rebuilds it from what agents hold, before that goes', async () => {
    api.put(paths.agentSecret, agentSecret);
    api.put(paths.configMap, configMap);
    expect(await end(stored(dying('Retain')))).toBeUndefined();
    const { data } = api.objects.get(paths.keyring) as unknown as { data: Record<string, string> };
    const text = Buffer.from(data['keyring.json'] ?? '', 'base64').toString();
    expect(decodeKeyring(text)).toMatchObject({
      keyring: { keys: [{ kid: newer.keys[0]?.kid }, {}, {}, {}, {}] },
    });
    expect(api.objects.has(paths.agentSecret)).toBe(false);
  });

  test('with Retain and a keyring that cannot be read keeps the agent Secret too, and says so', async () => {
    has();
    api.put(paths.keyring, { ...keyring, data: { 'keyring.json': 'e30=' } });
    const event = await end(stored(dying('Retain')));
    expect(event).toMatchObject({ type: 'Warning', reason: 'AgentSecretRetained' });
    const left = api.objects.get(paths.agentSecret);
    expect(api.objects.get(paths.issuer)?.metadata.finalizers).toEqual([]);
    api.objects.delete(paths.issuer);
    await cleanUpAfter(api.client(), { namespace: 'team', name: 'demo' }, [left as KubeObject]);
    expect(api.objects.has(paths.agentSecret)).toBe(true);
  });

  test.each([
    ['for want of a permission keeps the agent Secret and the finalizer', 'may not', true],
    ['in a namespace that goes lets go', 'x is forbidden because it is being terminated', false],
  ])('with Retain and a keyring that cannot be rebuilt %s', async (_, message, stays) => {
    api.put(paths.agentSecret, agentSecret);
    const there = stored(dying('Retain'));
    api.intercept = ({ method }) => (method === 'POST' ? failure(403, 'Forbidden', message) : undefined);
    const result = await end(there).catch((error) => error.code);
    expect(result).toBe(stays ? 403 : undefined);
    expect(api.objects.has(paths.agentSecret)).toBe(stays);
    expect(api.objects.get(paths.issuer)?.metadata.finalizers).toEqual(stays ? [finalizer] : []);
  });

  test("with Retain and a keyring that cannot be read leaves a stranger's Secret as it is", async () => {
    api.put(paths.keyring, { ...keyring, data: { 'keyring.json': 'e30=' } });
    const theirs = api.put(paths.agentSecret, { ...agentSecret, type: 'Opaque' });
    await end(stored(dying('Retain')));
    expect(api.objects.get(paths.agentSecret)).toEqual(theirs);
  });

  test('with Retain makes no keyring where there never was one', async () => {
    await end(stored(dying('Retain')));
    expect(api.objects.has(paths.keyring)).toBe(false);
  });

  test("leaves others' finalizers, and Secrets of strangers", async () => {
    api.put(paths.agentSecret, { ...agentSecret, type: 'Opaque' });
    const { metadata, ...rest } = dying('Delete');
    await end(stored({ ...rest, metadata: { ...metadata, finalizers: ['theirs', finalizer] } }));
    expect(api.objects.has(paths.agentSecret)).toBe(true);
    expect(api.objects.get(paths.issuer)?.metadata.finalizers).toEqual(['theirs']);
  });

  test('is not ours without our finalizer', async () => {
    has();
    const { metadata, ...rest } = dying('Delete');
    await end(stored({ ...rest, metadata: { ...metadata, finalizers: ['theirs'] } }));
    expect(writes()).toEqual([]);
  });

  test('keeps the finalizer when a Secret cannot be taken away', async () => {
    has();
    const issuerThere = stored(dying('Delete'));
    api.intercept = ({ method }) => (method === 'DELETE' ? failure(500, 'InternalError') : undefined);
    await expect(end(issuerThere)).rejects.toMatchObject({ code: 500 });
    expect(api.objects.get(paths.issuer)?.metadata.finalizers).toEqual([finalizer]);
  });

  test('that is long gone takes nothing from the issuer that now has its name', async () => {
    const cached = {
      ...dying('Delete', 'first'),
      metadata: { ...dying('Delete', 'first').metadata, resourceVersion: '5' },
    };
    stored(issuerOf({ deletionPolicy: 'Delete' }, undefined, { uid: 'second' }));
    has();
    await end(cached).catch(() => {});
    expect(api.objects.has(paths.keyring)).toBe(true);
    expect(api.objects.has(paths.agentSecret)).toBe(true);
  });

  test('leaves an agent Secret behind only while there is an issuer', async () => {
    const key = { namespace: 'team', name: 'demo' };
    const left = api.put(paths.agentSecret, agentSecret);
    stored(issuer);
    await cleanUpAfter(api.client(), key, [left]);
    expect(api.objects.has(paths.agentSecret)).toBe(true);
    api.objects.delete(paths.issuer);
    await cleanUpAfter(api.client(), key, [left]);
    expect(api.objects.has(paths.agentSecret)).toBe(false);
  });

  test.each([403, 500, 503])('is not concluded from the answer %i', async (code) => {
    const left = api.put(paths.agentSecret, agentSecret);
    api.intercept = ({ path }) => (path === paths.issuer ? failure(code, 'Whatever') : undefined);
    await expect(
      cleanUpAfter(api.client(), { namespace: 'team', name: 'demo' }, [left as KubeObject]),
    ).rejects.toMatchObject({ code });
    expect(api.objects.has(paths.agentSecret)).toBe(true);
  });

  test.each([
    ['404 page not found'],
    [failure(404, 'NotFound', 'the server could not find the requested resource').body],
  ])('is not concluded where the API server does not know the kind: %j', async (body) => {
    const left = api.put(paths.agentSecret, agentSecret);
    api.intercept = ({ path }) => (path === paths.issuer ? { code: 404, body } : undefined);
    await cleanUpAfter(api.client(), { namespace: 'team', name: 'demo' }, [left as KubeObject]).catch(
      () => {},
    );
    expect(api.objects.has(paths.agentSecret)).toBe(true);
  });
});

describe('the finalizer', () => {
  test('is put on once, beside those of others', async () => {
    const { metadata, ...rest } = issuer;
    const bare = api.put(paths.issuer, { ...rest, metadata: { ...metadata, finalizers: ['theirs'] } });
    const patched = await addFinalizer(api.client(), bare as unknown as MacpAuthIssuer);
    expect(patched.metadata.finalizers).toEqual(['theirs', finalizer]);
    expect(await addFinalizer(api.client(), patched)).toBe(patched);
    expect(writes()).toHaveLength(1);
  });

  test('is not put on an issuer that changed meanwhile', async () => {
    const { metadata, ...rest } = issuer;
    const bare = api.put(paths.issuer, { ...rest, metadata: { ...metadata, finalizers: [] } });
    api.put(paths.issuer, bare);
    await expect(addFinalizer(api.client(), bare as unknown as MacpAuthIssuer)).rejects.toBeInstanceOf(
      Superseded,
    );
  });
});
