import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { annotations, type MacpAuthIssuer } from '../../../operator/api/names.ts';
import { agentSecret } from '../../../operator/build/files.ts';
import type { KubeObject } from '../../../operator/cluster/resources.ts';
import {
  glanceAtKeyring,
  type KeyringObservation,
  keyPolicy,
  observeKeyring,
} from '../../../operator/observe/keyring.ts';
import { type Children, noChildren } from '../../../operator/observe/world.ts';
import { generateKey } from '../../../operator/plan/generate.ts';
import { type Keyring, type KeyringKey, publicKeys } from '../../../operator/plan/keyring.ts';
import { statusOf } from '../../../operator/status/status.ts';
import { FakeApiServer, failure } from './api-server.ts';
import {
  active,
  day,
  defaultSpec,
  hour,
  issuerOf,
  keyringOf,
  minute,
  noTraces,
  objectsOf,
  planned,
  second,
  t0,
} from './builders.ts';

const paths = {
  issuer: '/apis/auth.multiagentcoordinationprotocol.io/v1alpha1/namespaces/team/macpauthissuers/demo',
  keyring: '/api/v1/namespaces/team/secrets/macp-auth-keyring.demo',
  agentSecret: '/api/v1/namespaces/team/secrets/macp-auth.team.demo',
  configMap: '/api/v1/namespaces/team/configmaps/macp-auth-demo',
};

let api: FakeApiServer;
beforeEach(async () => {
  api = await FakeApiServer.start();
});
afterEach(() => api.stop());

const keyring = keyringOf({ revision: 7 });
const bare = issuerOf();
const objects = objectsOf(bare, keyring);
const told = issuerOf({}, statusOf(bare, keyring, [], t0));

/** Puts the named objects into the server. */
function has(issuer: MacpAuthIssuer, ...names: (keyof typeof objects)[]): void {
  api.put(paths.issuer, issuer);
  for (const name of names) api.put(paths[name], objects[name]);
}
const observe = async (issuer: MacpAuthIssuer, children: Partial<Children> = {}) =>
  (await glanceAtKeyring(api.client(), issuer, { ...noChildren, ...children })) ??
  (await observeKeyring(api.client(), issuer, undefined));
async function decide(issuer: MacpAuthIssuer, children: Partial<Children> = {}) {
  const at = ({ observed, traces }: KeyringObservation) =>
    planned({ policy: keyPolicy(issuer), observed, traces, now: t0 + minute });
  const glance = await glanceAtKeyring(api.client(), issuer, { ...noChildren, ...children });
  const quick = glance && at(glance);
  return quick?.action === 'keep' ? quick : at(await observeKeyring(api.client(), issuer, undefined));
}

describe('what decides about keys', () => {
  test('is read from the spec', () => {
    const issuer = issuerOf({
      algorithm: 'RS256',
      ttl: { default: '5m', max: '90m' },
      rotation: {
        interval: '240h',
        verifierCacheTTL: '100s',
        propagation: '3m',
        clockSkew: '1s',
        grace: '48h',
        rotateNow: 'x',
        revokedKeyIDs: ['leaked'],
      },
    });
    expect(keyPolicy(issuer)).toEqual({
      algorithm: 'RS256',
      maxTTLMs: 1.5 * hour,
      intervalMs: 10 * day,
      verifierCacheTTLMs: 100 * second,
      maxAgeMs: 10 * second,
      propagationMs: 3 * minute,
      clockSkewMs: second,
      graceMs: 2 * day,
      rotateNow: 'x',
      revokedKeyIDs: ['leaked'],
    });
  });
});

describe('times that would leave no room for a rotation', () => {
  const rotation = { ...defaultSpec.rotation, propagation: '0s', clockSkew: '0s', grace: '10s' };
  test('something takes at least a millisecond to arrive, or there would be no before and after', () => {
    expect(keyPolicy(issuerOf({ rotation }))).toMatchObject({ propagationMs: 1, clockSkewMs: 0 });
  });
  test('a grace that is shorter than two switches counts as that', () => {
    const { graceMs } = keyPolicy(
      issuerOf({ rotation: { ...rotation, propagation: '2m', clockSkew: '1m' } }),
    );
    expect(graceMs).toBe(6 * minute);
  });
});

describe('a keyring that is there', () => {
  test('is read live, and once, with what the cache tells of it', async () => {
    has(told, 'keyring');
    const { configMap, agentSecret } = objects;
    const observation = await observe(told, { configMap, agentSecret });
    expect(observation).toMatchObject({
      foreign: false,
      predecessorLingers: false,
      observed: { state: 'present', keyring },
      traces: {
        revision: 7,
        statusKeyIDs: keyring.keys.map(({ kid }) => kid),
        handledRotateNow: '',
        published: publicKeys(keyring),
        distributed: [{ kid: keyring.keys[0]?.kid }],
      },
    });
    expect(observation.secret?.metadata.resourceVersion).toBe(
      api.objects.get(paths.keyring)?.metadata.resourceVersion,
    );
    expect(api.calls('GET')).toEqual([`GET ${paths.keyring}`]);
  });

  test('is what decides, although the cache lacks everything', async () => {
    has(bare, 'keyring');
    expect(await decide(bare)).toMatchObject({ action: 'keep', keyring });
  });

  test.each<[string, (secret: KubeObject) => unknown, string]>([
    ['no data', (secret) => delete secret.data, 'it has no data.keyring.json'],
    ['another member', (secret) => (secret.data = { other: '' }), 'it has no data.keyring.json'],
    ['no JSON', (secret) => (secret.data = { 'keyring.json': 'e30' }), 'data.keyring.json: formatVersion'],
  ])('with %s cannot be read, which is not the same as absent', async (_, damage, problem) => {
    has(told);
    const secret = structuredClone(objects.keyring);
    damage(secret);
    api.put(paths.keyring, secret);
    const { observed } = await observe(told);
    expect(observed).toEqual({
      state: 'unreadable',
      problem: expect.stringContaining(`Secret macp-auth-keyring.demo cannot be read: ${problem}`),
    });
  });

  test("with another type is a stranger's", async () => {
    has(told);
    api.put(paths.keyring, { ...objects.keyring, type: 'Opaque' });
    expect(await observe(told)).toMatchObject({ foreign: true });
  });
});

describe('a keyring that is absent', () => {
  test('is so only after everything that tells of it was read live', async () => {
    has(bare);
    const { observed, traces, secret, predecessorLingers } = await observe(bare);
    expect({ observed, traces, secret, predecessorLingers }).toEqual({
      observed: { state: 'absent' },
      traces: noTraces,
      secret: undefined,
      predecessorLingers: false,
    });
    expect(api.calls('GET').toSorted()).toEqual(
      [paths.keyring, paths.issuer, paths.configMap, paths.agentSecret]
        .map((path) => `GET ${path}`)
        .toSorted(),
    );
    expect(api.seen.at(-1)?.path).toBe(paths.keyring);
  });

  test('where nothing tells of one is created', async () => {
    has(bare);
    expect(await decide(bare)).toMatchObject({ action: 'write', change: 'KeyringCreated' });
  });

  test.each<[string, MacpAuthIssuer, ('agentSecret' | 'configMap')[], object]>([
    ['status', told, [], { action: 'hold', reason: 'KeyringLost' }],
    ['the JWKS', bare, ['configMap'], { action: 'hold', reason: 'KeyringLost' }],
    ['the agent Secret', bare, ['agentSecret'], { action: 'write', change: 'KeyringRebuilt' }],
  ])(
    'is never created anew where the cache lacks everything, but %s tells of it',
    async (_, live, names, expected) => {
      has(live, ...names);
      expect(await decide(bare)).toMatchObject(expected);
    },
  );

  test('is present after all when it comes while one looks', async () => {
    has(told);
    api.afterwards = ({ path }) => {
      if (path === paths.issuer) api.put(paths.keyring, objects.keyring);
    };
    const { observed, secret } = await observe(bare);
    expect(observed).toEqual({ state: 'present', keyring });
    expect(secret?.metadata.resourceVersion).toBeDefined();
  });

  test.each(Object.entries(paths))(
    'is never taken for absent when the %s cannot be read',
    async (_, unreadable) => {
      has(bare);
      api.intercept = ({ path }) =>
        path === unreadable ? failure(503, 'ServiceUnavailable', 'away') : undefined;
      await expect(observe(bare)).rejects.toMatchObject({ code: 503 });
    },
  );

  test('is never taken for absent when the issuer itself is gone', async () => {
    await expect(observe(bare)).rejects.toMatchObject({ code: 404 });
  });

  const owner = (uid: string) => ({ apiVersion: 'v1', kind: 'MacpAuthIssuer', name: 'demo', uid });
  test.each([
    ['this issuer', [owner('issuer-uid')], false],
    ['an earlier issuer', [owner('earlier')], true],
    ['both', [owner('earlier'), owner('issuer-uid')], false],
    ['nobody', [], false],
  ])('and a JWKS that is owned by %s', async (_, ownerReferences, lingers) => {
    has(bare);
    const { metadata, ...rest } = objects.configMap;
    api.put(paths.configMap, { ...rest, metadata: { ...metadata, ownerReferences } });
    expect((await observe(bare)).predecessorLingers).toBe(lingers);
  });

  test('with objects of different age is told of by the newest', async () => {
    has(issuerOf({}, { ...told.status, keyringRevision: 3 }), 'configMap');
    const { metadata, ...rest } = objects.agentSecret;
    api.put(paths.agentSecret, {
      ...rest,
      metadata: { ...metadata, annotations: { [annotations.revision]: '9' } },
    });
    expect((await observe(bare)).traces.revision).toBe(9);
  });
});

describe('what other namespaces hold', () => {
  const elsewhere = '/api/v1/namespaces/b/secrets/macp-auth.team.demo';
  const own = async (kid?: string) => {
    const key = await generateKey('ES256');
    const named = kid === undefined ? key : { ...key, kid, publicKey: { ...key.publicKey, kid } };
    return active(named);
  };
  const tells = (some: Keyring, more: Partial<MacpAuthIssuer['status']> = {}) => {
    const { status } = issuerOf({}, statusOf(bare, some, [], t0));
    return issuerOf({}, { ...status, ...more } as MacpAuthIssuer['status']);
  };
  const holding = (keys: KeyringKey[]) => agentSecret(bare, 'b', keyringOf({ keys }));
  const distributed = async (issuer: MacpAuthIssuer, secret: KubeObject) => {
    api.put(paths.issuer, issuer);
    api.put(elsewhere, secret);
    const { traces } = await observeKeyring(api.client(), issuer, undefined);
    return traces;
  };

  test('counts where status names the very key, and then with the times that status tells', async () => {
    const key = await own();
    const later = { ...key, activateAt: t0 + day, signUntil: t0 + 900 * day };
    const traces = await distributed(tells(keyringOf({ keys: [key] })), holding([later]));
    expect(traces.holders).toEqual(['b']);
    expect(traces.distributed).toMatchObject([
      {
        kid: key.kid,
        activateAt: new Date(t0).toISOString(),
        signUntil: new Date(key.signUntil ?? 0).toISOString(),
      },
    ]);
  });

  test('is no trace of what nobody names', async () => {
    const key = await own();
    const traces = await distributed(bare, holding([key]));
    expect(traces).toMatchObject({ distributed: [], holders: [], revision: 0 });
    const named = await distributed(tells(keyringOf({ keys: [await own()] })), holding([key]));
    expect(named).toMatchObject({ distributed: [], holders: [] });
  });

  test('is no other key under a name that status has', async () => {
    const [key, forged] = [await own(), await own()];
    const renamed = { ...forged, kid: key.kid, publicKey: { ...forged.publicKey, kid: key.kid } };
    const traces = await distributed(tells(keyringOf({ keys: [key] })), holding([renamed]));
    expect(traces.distributed).toEqual([]);
  });

  test('is no key whose private part was damaged', async () => {
    const [key, other] = [await own(), await own()];
    const damaged = { ...key, privateKey: { ...key.privateKey, d: other.privateKey?.d } } as KeyringKey;
    const traces = await distributed(tells(keyringOf({ keys: [key] })), holding([damaged]));
    expect(traces.distributed).toEqual([]);
  });

  test('of an imported name counts only as the JWKS has it', async () => {
    const key = await own('key-1');
    const forged = await own('key-1');
    const told = tells(keyringOf({ keys: [key] }));
    expect((await distributed(told, holding([key]))).distributed).toEqual([]);
    api.put(paths.configMap, objectsOf(bare, keyringOf({ keys: [key] })).configMap);
    expect((await distributed(told, holding([key]))).distributed).toMatchObject([{ kid: 'key-1' }]);
    expect((await distributed(told, holding([forged]))).distributed).toEqual([]);
  });

  test('yields to what the own namespace holds, and is not asked for while the keyring is whole', async () => {
    const key = await own();
    const some = keyringOf({ revision: 7, keys: [key] });
    api.put(paths.agentSecret, objectsOf(bare, some).agentSecret);
    const later = { ...key, signUntil: t0 + 900 * day };
    const traces = await distributed(tells(some), holding([later]));
    expect(traces.distributed).toMatchObject([{ signUntil: new Date(key.signUntil ?? 0).toISOString() }]);
    api.put(paths.keyring, objectsOf(bare, some).keyring);
    const before = api.seen.length;
    await observeKeyring(api.client(), tells(some), undefined);
    expect(api.seen.slice(before).map(({ path }) => path)).not.toContain('/api/v1/secrets');
  });
});

describe('an older copy of the keyring', () => {
  const older = { ...keyringOf(), revision: 2 };

  test('is known by what the cache tells', async () => {
    has(told, 'configMap', 'agentSecret');
    api.put(paths.keyring, objectsOf(bare, older).keyring);
    const { configMap, agentSecret } = objects;
    const decision = await decide(told, { configMap, agentSecret });
    expect(decision).toMatchObject({ action: 'hold', reason: 'KeyringStale' });
    expect(decision).toMatchObject({ publish: [...publicKeys(older), ...publicKeys(keyring)] });
  });

  test('withdraws no key that is published, although the cache lacks everything', async () => {
    has(told, 'configMap', 'agentSecret');
    api.put(paths.keyring, objectsOf(bare, older).keyring);
    const decision = await decide(told);
    if (decision.action !== 'hold') throw new Error('it does not hold');
    expect(decision.publish).toEqual(expect.arrayContaining(publicKeys(keyring)));
  });

  test('goes on by consent with the key that agents hold, although the cache lacks everything', async () => {
    const consenting = {
      ...told,
      spec: { ...told.spec, rotation: { ...told.spec.rotation, rotateNow: 'go' } },
    };
    has(consenting, 'configMap', 'agentSecret');
    api.put(paths.keyring, objectsOf(bare, older).keyring);
    const decision = await decide(consenting);
    if (decision.action !== 'write') throw new Error('it does not write');
    expect(decision.keyring.keys.map(({ kid }) => kid)).toContain(keyring.keys[0]?.kid);
  });

  test('is never written through a cache that lags behind it', async () => {
    const copy = { ...keyring, revision: 6 };
    const longer = { ...bare, spec: { ...bare.spec, ttl: { default: '5m', max: '2h' } } };
    has({ ...told, spec: longer.spec }, 'configMap', 'agentSecret');
    api.put(paths.keyring, objectsOf(bare, copy).keyring);
    const { configMap, agentSecret } = objectsOf(bare, copy);
    const lagging = { ...longer, ...(told.status && { status: { ...told.status, keyringRevision: 6 } }) };
    expect(await decide(lagging, { configMap, agentSecret })).toMatchObject({
      action: 'hold',
      reason: 'KeyringStale',
    });
  });
});

test('a rotateNow that only a lagging cache still holds is no consent', async () => {
  const rotateNow = (value: string) => ({ rotation: { ...defaultSpec.rotation, rotateNow: value } });
  const lagging = issuerOf(rotateNow('second'), { ...told.status, observedRotateNow: 'second' });
  has(issuerOf(rotateNow('third'), { ...told.status, observedRotateNow: 'third' }, { generation: 2 }));
  const decision = await decide(lagging).catch(() => ({ action: 'it looks again' }));
  expect(decision.action).not.toBe('write');
});
