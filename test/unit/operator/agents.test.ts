import { describe, expect, test } from '@jest/globals';
import {
  type AgentNamespaces,
  distributedEverywhere,
  isExposed,
  mintsUntil,
  withNamespaces,
  withoutHarmless,
} from '../../../operator/plan/agents.ts';
import { activeKey, committedKey, type Keyring, type KeyringKey } from '../../../operator/plan/keyring.ts';
import type { KeyPolicy } from '../../../operator/plan/policy.ts';
import type { Traces } from '../../../operator/plan/recovery.ts';
import { canMintUntil, safeToRevokeAt } from '../../../operator/plan/rotation.ts';
import type { ServerObservation } from '../../../operator/plan/servers.ts';
import { keyEvents } from '../../../operator/status/changes.ts';
import { judgeConfined } from '../../../operator/status/judge.ts';
import {
  absent,
  active,
  day,
  frozen,
  held,
  hour,
  keyringOf,
  minute,
  newKeys,
  ownAgents,
  plannedKeyring,
  policyOf,
  present,
  publishedOnly,
  second,
  serving,
  spare,
  t0,
  tracesOf,
} from './builders.ts';

const switchTime = 2 * minute + minute;
const untilSafe = 2 * minute + hour + minute + minute;
const untilRefused = 2 * minute + 5 * minute + 30 * second;
const ripe = (overrides: Partial<KeyringKey> = {}) => spare({ servedSince: t0, ...overrides });
const ripeKeyring = (overrides: Partial<Keyring> = {}) =>
  keyringOf({ keys: [active(), ripe(), ripe({ createdAt: t0 + 1 })], ...overrides });
const kidAt = (keyring: Keyring, index: number) => keyring.keys[index]?.kid as string;

interface Seen {
  agents?: Partial<AgentNamespaces>;
  policy?: Partial<KeyPolicy>;
  servers?: ServerObservation;
  traces?: Partial<Traces>;
}

const at = (now: number, keyring: Keyring, { agents, policy, servers, traces }: Seen = {}) =>
  plannedKeyring({
    policy: policyOf(policy),
    observed: present(keyring),
    traces: tracesOf(keyring, traces),
    servers: servers ?? serving(keyring),
    agents: { ...ownAgents, ...agents },
    now,
  });

describe('a namespace that is selected', () => {
  test('is noted before it gets keys, which is no new revision', () => {
    const keyring = ripeKeyring();
    const decision = at(t0 + hour, keyring, { agents: { selected: ['a', 'b'] } });
    expect(decision).toMatchObject({ action: 'write', change: 'KeyringUpdated' });
    expect(decision.keyring).toEqual({ ...keyring, namespaces: ['a', 'b'] });
  });

  test('and known to be is no write', () => {
    const keyring = ripeKeyring({ namespaces: ['a', 'b'] });
    expect(at(t0 + hour, keyring, { agents: { selected: ['a', 'b'] } }).action).toBe('keep');
  });

  test('is noted in the very first keyring', () => {
    const agents = { ...ownAgents, selected: ['a'] };
    const { keyring } = plannedKeyring({
      policy: policyOf(),
      observed: absent,
      traces: tracesOf(keyringOf({ revision: 0, keys: [] })),
      agents,
      now: t0,
    });
    expect(keyring).toMatchObject({ namespaces: ['a'], deselected: [] });
  });
});

describe('a namespace that is deselected', () => {
  const keyring = ripeKeyring({ namespaces: ['a', 'b'] });
  const now = t0 + hour;
  const left = { selected: ['b'], unselected: ['a', 'other'] };
  const decision = at(now, keyring, { agents: left });

  test('is noted with every key that was handed out, and the switch to another is committed', () => {
    expect(decision.keyring).toMatchObject({
      namespaces: ['b'],
      deselected: [{ namespace: 'a', since: now, keyIDs: [kidAt(keyring, 0)] }],
    });
    expect(decision.rotation.reason).toBe('SwitchCommitted');
    expect(committedKey(decision.keyring, now)?.kid).toBe(kidAt(keyring, 1));
    expect(keyEvents(keyring, decision.keyring, now)).toContainEqual({
      type: 'Normal',
      reason: 'NamespaceDeselected',
      note: expect.stringContaining('no longer selected: a;'),
    });
  });

  test('is noted at once although no spare is ripe, and the rotation waits for that', () => {
    const young = keyringOf({ namespaces: ['a'] });
    const waiting = at(now, young, { agents: { unselected: ['a'] } });
    expect(waiting.keyring.deselected).toHaveLength(1);
    expect(waiting.rotation.reason).toBe('WaitingForVerifiers');
    const told = judgeConfined(waiting.keyring, policyOf());
    expect(told).toMatchObject({
      reason: 'DeselectedNamespaceCanMint',
      message:
        'no longer selected, but able to mint until the keys that it knows are replaced and revoked: a',
    });
  });

  test.each<[string, Partial<AgentNamespaces>]>([
    ['is gone, or goes', { selected: ['b'] }],
    ['is unknown', { selected: ['b'], unknown: ['a'] }],
    ['is unknown with all others', { selected: [], unknown: 'all' }],
  ])('is not one that %s', (_, agents) => {
    const { keyring: after } = at(now, keyring, { agents });
    expect(after.deselected).toEqual([]);
    expect(after.namespaces).toEqual(agents.unknown?.length ? ['a', 'b'] : ['b']);
    expect(committedKey(after, now)).toBeUndefined();
  });

  test('is also one that the operator no longer works in', () => {
    const { keyring: after } = at(now, keyring, { agents: { selected: ['b'], watched: ['team', 'b'] } });
    expect(after.namespaces).toEqual(['b']);
    expect(after.deselected).toMatchObject([{ namespace: 'a' }]);
  });

  test('while a switch is on knows both keys, and the third takes over', () => {
    const committed = ripe({ activateAt: now + minute, signUntil: now + 37 * day, maxTTLMs: hour });
    const both = keyringOf({ keys: [active(), committed, ripe(), ripe()], namespaces: ['a'] });
    const first = at(now, both, { agents: { unselected: ['a'] } }).keyring;
    expect(first.deselected[0]?.keyIDs).toEqual([kidAt(both, 0), committed.kid]);
    const over = at(now + 2 * minute, first, { agents: { unselected: ['a'] } }).keyring;
    expect(committedKey(over, now + 2 * minute)?.kid).toBe(kidAt(both, 2));
  });

  test('knows keys that have retired too', () => {
    const old = publishedOnly({ activateAt: t0 - day, signUntil: t0 + day, maxTTLMs: hour });
    const retired = keyringOf({
      keys: [old, active({ distributedAt: t0 }), ripe(), ripe()],
      namespaces: ['a'],
    });
    const after = at(now, retired, { agents: { unselected: ['a'] } }).keyring;
    expect(after.deselected[0]?.keyIDs).toEqual([old.kid, kidAt(retired, 1)]);
  });

  const stray = {
    unselected: ['a'],
    held: [{ namespace: 'a', keys: [held(keyring.keys[0] as KeyringKey)] }],
  };
  test('is found by its Secret although the keyring does not name it', () => {
    const after = at(now, ripeKeyring({ keys: keyring.keys }), { agents: stray }).keyring;
    expect(after.deselected).toEqual([{ namespace: 'a', since: now, keyIDs: [kidAt(keyring, 0)] }]);
    expect(at(now + minute, after, { agents: stray }).keyring.deselected).toEqual(after.deselected);
  });

  test.each<[string, { kid?: string }]>([
    ['a key of its own', {}],
    ["a key of its own under the name of the issuer's", { kid: kidAt(keyring, 0) }],
  ])('is not one that made a Secret with %s', (_, name) => {
    const [own] = newKeys(1);
    const keys = [{ ...held({ ...active(), ...own } as KeyringKey), ...name }];
    const agents = { unselected: ['a'], held: [{ namespace: 'a', keys }] };
    expect(at(now, ripeKeyring({ keys: keyring.keys }), { agents }).action).toBe('keep');
  });

  test('waits while a migration is under way, and its condition says so', () => {
    const importing = { ...keyring, importedKeyID: kidAt(keyring, 0) };
    const after = at(now, importing, { agents: left, policy: { importMaxTTLMs: hour } });
    expect(after.rotation.reason).toBe('ImportUnderWay');
    expect(judgeConfined(after.keyring, policyOf()).message).toMatch(
      /until the keys that it knows are replaced/,
    );
  });
});

describe('the key that a deselected namespace knows', () => {
  const activateAt = t0 + hour;
  const old = publishedOnly({
    activateAt: t0,
    signUntil: t0 + 37 * day,
    maxTTLMs: hour,
    removeAt: t0 + 38 * day,
  });
  const successor = active({ activateAt, signUntil: activateAt + 37 * day, distributedAt: activateAt });
  const keyring = keyringOf({
    keys: [old, successor, ripe(), ripe()],
    deselected: [{ namespace: 'a', since: t0 + minute, keyIDs: [old.kid] }],
  });
  const safe = activateAt + untilSafe;
  const agents = { unselected: ['a'] };

  test('is revoked at its safeToRevokeTime, and not before', () => {
    expect(safeToRevokeAt(keyring, old, policyOf())).toBe(safe);
    const before = at(safe - 1, keyring, { agents });
    expect(before).toMatchObject({ action: 'keep', wakeAt: safe });
    const { keyring: after, action } = at(safe, keyring, { agents });
    expect(action).toBe('write');
    expect(after.revision).toBe(keyring.revision + 1);
    expect(after.revoked).toEqual([
      {
        kid: old.kid,
        algorithm: 'ES256',
        revokedAt: safe,
        safeAt: safe + untilRefused,
        safeAtWorst: safe + untilRefused + hour,
      },
    ]);
    expect(after.keys.map(({ kid }) => kid)).not.toContain(old.kid);
    expect(activeKey(after, safe)?.kid).toBe(successor.kid);
  });

  test('is good until verifiers refuse it, which the condition says all the while, and then no more', () => {
    const told = judgeConfined(keyring, policyOf());
    const end = safe + untilRefused;
    expect(told.message).toBe(`no longer selected, but able to mint until ${new Date(end).toISOString()}: a`);
    const revoked = at(safe, keyring, { agents }).keyring;
    expect(canMintUntil(revoked, revoked.deselected[0]?.keyIDs ?? [], policyOf())).toBe(end);
    expect(judgeConfined(revoked, policyOf())).toEqual(told);
    expect(at(end - 1, revoked, { agents }).action).toBe('keep');
    expect(at(end - 1, revoked, { agents }).wakeAt).toBe(end);
    const over = at(end, revoked, { agents }).keyring;
    expect(over.deselected).toEqual([]);
    expect(over.revision).toBe(revoked.revision);
    expect(judgeConfined(over, policyOf()).reason).toBe('KeysConfined');
  });

  test('waits for every namespace whose sidecars may sign with it still', () => {
    const { distributedAt: _, ...undistributed } = successor;
    const late = { ...keyring, namespaces: ['b', 'c'], keys: [old, undistributed, ...keyring.keys.slice(2)] };
    const holding = (...keys: KeyringKey[]) => ({ namespace: 'b', keys: keys.map(held) });
    const behind = { selected: ['b', 'c'], unselected: ['a'], held: [holding(active())] };
    const waiting = at(safe, late, { agents: behind });
    expect(waiting.keyring.keys.find(({ kid }) => kid === successor.kid)).not.toHaveProperty('distributedAt');
    expect(waiting.keyring.revoked).toEqual([]);
    // c has none, so no sidecar there has files at all.
    const followed = at(safe, late, { agents: { ...behind, held: [holding(successor)] } });
    expect(followed.keyring.keys.find(({ kid }) => kid === successor.kid)?.distributedAt).toBe(safe);
    expect(followed.keyring.revoked).toEqual([]);
    const { keyring: over } = at(safe + untilSafe, followed.keyring, {
      agents: { ...behind, held: [holding(successor)] },
    });
    expect(over.revoked).toHaveLength(1);
  });

  test.each<[string, string[] | 'all']>([
    ['of one of them', ['b']],
    ['of any', 'all'],
  ])('waits while the Secrets %s could not be listed', (_, unseen) => {
    const { distributedAt: __, ...undistributed } = successor;
    const late = { ...keyring, namespaces: ['b'], keys: [old, undistributed, ...keyring.keys.slice(2)] };
    const confirmed = (more: Partial<AgentNamespaces>) =>
      at(safe, late, { agents: { selected: ['b'], unselected: ['a'], ...more } }).keyring.keys.find(
        ({ kid }) => kid === successor.kid,
      )?.distributedAt;
    expect(confirmed({ unseen })).toBeUndefined();
    expect(confirmed({ unseen: ['elsewhere'] })).toBe(safe);
  });

  test.each<[string, Seen]>([
    ['clocks differ', { servers: serving(keyring, { clockDifferenceMs: day }) }],
    ["a stranger's key is served", { servers: serving(keyring, { answers: [['strange']] }) }],
  ])('is not revoked while %s', (_, seen) => {
    expect(at(safe, keyring, { ...seen, agents }).keyring.revoked).toEqual([]);
  });

  test('is revoked alone: a key that it does not know goes on to its end', () => {
    const unexposed = { ...keyring, deselected: [{ namespace: 'a', since: t0, keyIDs: [successor.kid] }] };
    expect(at(safe, unexposed, { agents }).keyring.revoked).toEqual([]);
  });

  test('is not revoked while the old service of a migration signs with it', () => {
    const imported = { ...keyring, importedKeyID: old.kid };
    const during = { agents, policy: { importMaxTTLMs: hour } };
    expect(at(safe, imported, during).keyring.revoked).toEqual([]);
    expect(at(safe, imported, { agents }).keyring.revoked).toHaveLength(1);
  });

  test('has the planner look again when verifiers refuse it, not when they refuse another', () => {
    const refused = (kid: string, safeAt: number) =>
      ({ kid, algorithm: 'ES256', revokedAt: t0, safeAt, safeAtWorst: safeAt + hour }) as const;
    const now = t0 + 2 * hour;
    const revoked = [refused('other', now + second), refused('known', now + minute)];
    const deselected = [{ namespace: 'a', since: t0, keyIDs: ['gone', 'known'] }];
    expect(at(now, ripeKeyring({ revoked, deselected }), { agents }).wakeAt).toBe(now + minute);
  });

  test('is forgotten when it left the JWKS by its age', () => {
    const gone = keyringOf({ deselected: keyring.deselected, removedKeyIDs: [old.kid] });
    expect(at(t0 + hour, gone, { agents }).keyring.deselected).toEqual([]);
  });

  test('is revoked although the namespace was selected again, which gets the next ones at once', () => {
    const again = at(safe - minute, keyring, { agents: { selected: ['a'] } }).keyring;
    expect(again).toMatchObject({ namespaces: ['a'], deselected: keyring.deselected, revoked: [] });
    // It may mint, so that nothing has to be told of it.
    expect(judgeConfined(again, policyOf()).reason).toBe('KeysConfined');
    // Pods that are there sign with it until they have the new files.
    const written = { selected: ['a'], held: [{ namespace: 'a', keys: [held(successor)] }] };
    expect(at(safe, again, { agents: { selected: ['a'] } })).toMatchObject({ action: 'keep' });
    const followed = at(safe, again, { agents: written }).keyring;
    expect(followed).toMatchObject({ revoked: [], deselected: keyring.deselected });
    expect(at(safe + untilSafe, followed, { agents: written }).keyring.revoked).toHaveLength(1);
  });

  test('and those that it got meanwhile are, when the namespace is deselected once more', () => {
    const again = { ...keyring, namespaces: ['a'] };
    const twice = at(activateAt + minute, again, { agents }).keyring;
    expect(twice.deselected).toEqual([
      { namespace: 'a', since: activateAt + minute, keyIDs: [old.kid, successor.kid] },
    ]);
    expect(committedKey(twice, activateAt + minute)).toBeDefined();
  });
});

test('a namespace that comes and goes for years does not fill the keyring with keys that are long gone', () => {
  const known = active();
  const record = { kid: 'revoked', algorithm: 'ES256' as const, revokedAt: t0, safeAt: t0, safeAtWorst: t0 };
  const keyring = keyringOf({
    keys: [known, ripe(), ripe()],
    revoked: [record],
    namespaces: ['a'],
    deselected: [{ namespace: 'a', since: t0, keyIDs: ['gone', 'revoked'] }],
  });
  const now = t0 + minute;
  const after = withNamespaces(keyring, { agents: { ...ownAgents, unselected: ['a'] }, now });
  expect(after.deselected).toEqual([{ namespace: 'a', since: now, keyIDs: ['revoked', known.kid] }]);
});

describe('a lost keyring', () => {
  const lost = ripeKeyring({ namespaces: ['a', 'b'] });
  const now = t0 + hour;
  const settle = (agents: Partial<AgentNamespaces>, holders: string[]) =>
    plannedKeyring({
      policy: policyOf(),
      observed: absent,
      traces: tracesOf(lost, { holders }),
      agents: { ...ownAgents, ...agents },
      now,
    }).keyring;

  test('is rebuilt with the namespaces that hold keys', () => {
    expect(settle({ selected: ['a', 'b'] }, ['a', 'b'])).toMatchObject({
      namespaces: ['a', 'b'],
      deselected: [],
    });
  });

  test('is rebuilt knowing of those that were deselected meanwhile', () => {
    const after = settle({ selected: ['b'], unselected: ['a'] }, ['a', 'b']);
    expect(after.namespaces).toEqual(['b']);
    // Of keys that are only published it is not known whether they ever were handed out.
    expect(after.deselected).toMatchObject([{ namespace: 'a', keyIDs: lost.keys.map(({ kid }) => kid) }]);
  });
});

test('an older copy, by consent, knows of the namespaces of both', () => {
  const copy = ripeKeyring({ revision: 4, namespaces: ['a'] });
  const settle = (agents: Partial<AgentNamespaces>) =>
    plannedKeyring({
      policy: policyOf({ rotateNow: 'go' }),
      observed: present(copy),
      traces: tracesOf(copy, { revision: 9, observedRotateNow: '', holders: ['b'] }),
      agents: { ...ownAgents, ...agents },
      now: t0 + switchTime,
    }).keyring;
  expect(settle({ selected: ['a', 'b'] }).namespaces).toEqual(['a', 'b']);
  expect(settle({ unknown: 'all' }).namespaces).toEqual(['a', 'b']);
  const { namespaces, deselected } = settle({ unselected: ['a', 'b'] });
  expect(namespaces).toEqual([]);
  expect(deselected.map(({ namespace }) => namespace)).toEqual(['a', 'b']);
});

// What holds whatever happens around it: the functions by themselves.
describe('the keys that are distributed everywhere', () => {
  const [first, second] = [active(), active({ activateAt: t0 + hour })];
  const own = [held(first), held(second)];
  const both = [first.kid, second.kid];
  const all = (
    overrides: Partial<Keyring>,
    secrets: readonly { namespace: string; keys: readonly KeyringKey[] }[],
    mine = own,
  ) =>
    distributedEverywhere(keyringOf(overrides), mine, {
      ...ownAgents,
      held: secrets.map(({ namespace, keys }) => ({ namespace, keys: keys.map(held) })),
    });
  const deselected = [{ namespace: 'a', since: t0, keyIDs: [first.kid] }];

  test.each<[string, Partial<Keyring>, Parameters<typeof all>[1], string[]]>([
    ['all of its own where there are no others', {}, [], both],
    ['all of its own where no other has a Secret', { namespaces: ['a', 'b'] }, [], both],
    [
      'those alone that every other has',
      { namespaces: ['a', 'b'] },
      [
        { namespace: 'a', keys: [first, second] },
        { namespace: 'b', keys: [first] },
      ],
      [first.kid],
    ],
    [
      'none where two others have none in common',
      { namespaces: ['a', 'b'] },
      [
        { namespace: 'a', keys: [second] },
        { namespace: 'b', keys: [first] },
      ],
      [],
    ],
    ['none where another has an empty Secret', { namespaces: ['a'] }, [{ namespace: 'a', keys: [] }], []],
    ['all, whatever one that is not listed has', { namespaces: ['b'] }, [{ namespace: 'a', keys: [] }], both],
    ['none where one that came back has no Secret yet', { namespaces: ['a'], deselected }, [], []],
    [
      'what one that came back has',
      { namespaces: ['a'], deselected },
      [{ namespace: 'a', keys: [second] }],
      [second.kid],
    ],
    ['all, whatever one that did not come back lacks', { namespaces: ['b'], deselected }, [], both],
  ])('are %s', (_, overrides, secrets, expected) => {
    expect(all(overrides, secrets)).toEqual(expected);
  });

  test('are none that its own namespace lacks, and none twice', () => {
    const secrets = [{ namespace: 'a', keys: [first, second] }];
    expect(all({ namespaces: ['a'] }, secrets, [])).toEqual([]);
    expect(all({ namespaces: ['a'] }, secrets, [held(first), held(first)])).toEqual([first.kid]);
  });
});

describe('noting namespaces', () => {
  const now = t0 + hour;
  const note = (keyring: Keyring, agents: Partial<AgentNamespaces>) =>
    withNamespaces(frozen(keyring), { agents: { ...ownAgents, ...agents }, now });
  const one = active({ distributedAt: t0 });
  const keys = [one, ripe()];

  test.each<[string, Partial<Keyring>, Partial<AgentNamespaces>]>([
    ['there are none', {}, {}],
    [
      'they are as they were, in whatever order they are seen',
      { namespaces: ['a', 'b'] },
      { selected: ['b', 'a'] },
    ],
    ['none can be told', { namespaces: ['a', 'b'] }, { unknown: 'all' }],
    ['one cannot be told', { namespaces: ['a', 'b'] }, { selected: ['b'], unknown: ['a'] }],
    [
      'one that never had keys is not selected',
      { namespaces: ['a'] },
      { selected: ['a'], unselected: ['b'] },
    ],
    ['the operator works in them', { namespaces: ['a'] }, { selected: ['a'], watched: ['team', 'a'] }],
  ])('changes nothing, the very keyring, when %s', (_, overrides, agents) => {
    const keyring = keyringOf(overrides);
    expect(note(keyring, agents)).toBe(keyring);
  });

  test.each<[string, string[], Partial<AgentNamespaces>, string[], string[]]>([
    ['another instead', ['a'], { selected: ['b'], unselected: ['a'] }, ['b'], ['a']],
    ['one more, sorted', ['b'], { selected: ['b', 'a', 'c'] }, ['a', 'b', 'c'], []],
    ['the first alone gone', ['a', 'b'], { selected: ['b'] }, ['b'], []],
    ['the last alone gone', ['a', 'b'], { selected: ['a'] }, ['a'], []],
    ['as many, but others', ['a', 'b'], { selected: ['a', 'c'] }, ['a', 'c'], []],
    ['an unknown one that never had keys', ['a'], { selected: ['a', 'c'], unknown: ['b'] }, ['a', 'c'], []],
    ['one that is outside', ['a', 'b'], { unknown: ['b'], watched: ['b'] }, ['b'], ['a']],
    ['those that are unselected, of all', ['a', 'b'], { unselected: ['a', 'b'] }, [], ['a', 'b']],
  ])('says who is in it: %s', (_, before, agents, after, left) => {
    const keyring = keyringOf({ keys, namespaces: before });
    const noted = note(keyring, agents);
    expect(noted).toEqual({
      ...keyring,
      namespaces: after,
      deselected: left.map((namespace) => ({ namespace, since: now, keyIDs: [one.kid] })),
    });
  });

  test('knows of one that leaves every key but the spares', () => {
    const retired = publishedOnly({ activateAt: t0 - day });
    const bare = publishedOnly();
    const committed = ripe({ activateAt: now + minute });
    const noted = note(keyringOf({ keys: [retired, bare, one, committed, ripe()], namespaces: ['a'] }), {
      unselected: ['a'],
    });
    expect(noted.deselected[0]?.keyIDs).toEqual([retired.kid, bare.kid, one.kid, committed.kid]);
  });

  const other = active({ activateAt: t0 + minute });
  const before = [
    { namespace: 'a', since: t0, keyIDs: ['gone', one.kid] },
    { namespace: 'b', since: t0 + 1, keyIDs: [one.kid] },
  ];

  test('unites what one knew with what it knows, from now, and leaves the others', () => {
    const keyring = keyringOf({ keys: [one, other], namespaces: ['a'], deselected: before });
    const noted = note(keyring, { unselected: ['a', 'b'] });
    expect(noted.deselected).toEqual([
      before[1],
      { namespace: 'a', since: now, keyIDs: [one.kid, other.kid] },
    ]);
  });

  test('leaves when it was, where one that leaves again knows no more than before', () => {
    const keyring = keyringOf({ keys, namespaces: ['a'], deselected: before });
    const noted = note(keyring, { unselected: ['a', 'b'] });
    expect(noted).toEqual({ ...keyring, namespaces: [] });
    expect(noted.deselected).toBe(keyring.deselected);
  });

  const secretOf = (namespace: string, ...held_: KeyringKey[]) => ({ namespace, keys: held_.map(held) });
  test.each<[string, Partial<Keyring>, Partial<AgentNamespaces>, string[] | undefined]>([
    [
      'every key of ours in it',
      {},
      { unselected: ['c'], held: [secretOf('c', one, other)] },
      [one.kid, other.kid],
    ],
    ["not a stranger's", {}, { unselected: ['c'], held: [secretOf('c', active(), other)] }, [other.kid]],
    ['none where it holds none', {}, { unselected: ['c'], held: [secretOf('c')] }, undefined],
    ['none where it is selected', {}, { selected: ['c'], held: [secretOf('c', one)] }, undefined],
    ['none where it cannot be told', {}, { unknown: ['c'], held: [secretOf('c', one)] }, undefined],
    [
      'all that was handed out where the keyring names it',
      { namespaces: ['c'] },
      { unselected: ['c'], held: [secretOf('c', one)] },
      [one.kid, other.kid],
    ],
  ])('knows of a Secret where none should be: %s', (_, overrides, agents, expected) => {
    const noted = note(keyringOf({ keys: [one, other], ...overrides }), agents);
    expect(noted.deselected).toEqual(expected ? [{ namespace: 'c', since: now, keyIDs: expected }] : []);
  });

  test('of one that returns has the distribution of every key confirmed again', () => {
    const keyring = keyringOf({ keys: [one, other], namespaces: ['b'], deselected: before });
    const { distributedAt: _, ...unconfirmed } = one;
    const back = note(keyring, { selected: ['a', 'b'] });
    expect(back).toEqual({ ...keyring, keys: [unconfirmed, other], namespaces: ['a', 'b'] });
    expect(back.keys[0]).not.toHaveProperty('distributedAt');
    // Once: it is there from now on.
    const confirmed = { ...back, keys: [one, other] };
    expect(note(confirmed, { selected: ['a', 'b'] })).toBe(confirmed);
  });

  test.each<[string, string[], Partial<AgentNamespaces>]>([
    ['one that is new beside it', [], { selected: ['c'] }],
    ['one that leaves beside one that is back already', ['a', 'c'], { selected: ['a'], unselected: ['c'] }],
  ])('of %s leaves what was confirmed', (_, namespaces, agents) => {
    const keyring = keyringOf({ keys: [one, other], namespaces, deselected: before });
    expect(note(keyring, agents).keys).toEqual(keyring.keys);
  });
});

describe('what a deselected namespace knows', () => {
  const [a, b] = [active(), active()];
  const knowing = (...keyIDs: string[]) => ({ namespace: 'n', since: t0, keyIDs });
  const record = (kid: string, safeAt: number) => ({
    ...{ kid, algorithm: 'ES256' as const, revokedAt: t0 - hour },
    ...{ safeAt, safeAtWorst: safeAt + hour },
  });

  test('is exposed, in whichever of them, and nothing else is', () => {
    const keyring = keyringOf({ keys: [a, b], deselected: [knowing('x'), knowing('y', a.kid)] });
    expect(isExposed(keyring, a.kid)).toBe(true);
    expect(isExposed(keyring, b.kid)).toBe(false);
    expect(isExposed(keyringOf({ keys: [a] }), a.kid)).toBe(false);
  });

  test.each<[string, Partial<Keyring>, string[], boolean]>([
    ['a key that is published', { keys: [a] }, [a.kid], true],
    ['one that is published among others that are gone', { keys: [a] }, ['gone', a.kid], true],
    ['only keys that are gone, while others are published', { keys: [a] }, ['gone'], false],
    [
      'a key that was revoked, a moment before it is refused',
      { revoked: [record('r', t0 + 1)] },
      ['r'],
      true,
    ],
    ['a key that was revoked, when it is refused', { revoked: [record('r', t0)] }, ['r'], false],
    ['a key that was revoked long ago', { revoked: [record('r', t0 - 1)] }, ['r'], false],
    ['none that was revoked just now', { revoked: [record('r', t0 + 1)] }, ['gone'], false],
    [
      'one of two that were revoked, and is accepted still',
      { revoked: [record('q', t0), record('r', t0 + 1)] },
      ['q', 'r'],
      true,
    ],
    ['nothing', { keys: [a] }, [], false],
  ])('is remembered or forgotten, with %s', (_, overrides, keyIDs, stays) => {
    const keyring = frozen(keyringOf({ ...overrides, deselected: [knowing(...keyIDs)] }));
    const after = withoutHarmless(keyring, t0);
    expect(after).toEqual({ ...keyring, deselected: stays ? keyring.deselected : [] });
    if (stays) expect(after).toBe(keyring);
  });

  test('is forgotten of one although it is remembered of another', () => {
    const left = { ...knowing(a.kid), namespace: 'left' };
    const keyring = keyringOf({ keys: [a], deselected: [knowing('gone'), left] });
    expect(withoutHarmless(keyring, t0).deselected).toEqual([left]);
    const none = keyringOf({ keys: [a] });
    expect(withoutHarmless(none, t0)).toBe(none);
  });

  const removed = (removeAt: number) => active({ removeAt });
  const soon = removed(t0 + minute);
  const late = removed(t0 + 30 * day);
  const keyring = keyringOf({
    keys: [a, b, soon, late],
    revoked: [record('r', t0 + 7), record('s', t0 + 3)],
  });
  test.each<[string, string[], Record<string, number>, number | undefined]>([
    ['nothing tells of it, and it goes by no age', [a.kid], {}, undefined],
    ['it is to be revoked', [a.kid], { [a.kid]: t0 }, t0 + untilRefused],
    ['it goes by its age', [late.kid], {}, t0 + 30 * day],
    ['it is to be revoked before it goes by its age', [late.kid], { [late.kid]: t0 }, t0 + untilRefused],
    ['it goes by its age before it is revoked', [soon.kid], { [soon.kid]: t0 }, t0 + minute],
    ['it was refused long before it goes by its age', [soon.kid], { [soon.kid]: 0 }, untilRefused],
    ['it is revoked', ['r'], {}, t0 + 7],
    ['it is gone', ['gone'], {}, 0],
    ['both are revoked: the later', ['s', 'r'], {}, t0 + 7],
    ['one is gone and one is to be revoked', ['gone', a.kid], { [a.kid]: t0 }, t0 + untilRefused],
    ['one goes later than the other', [a.kid, late.kid], { [a.kid]: t0 }, t0 + 30 * day],
    ['of one it cannot be told', ['r', a.kid, b.kid], { [a.kid]: t0 }, undefined],
    ['of the first it cannot be told', [b.kid, a.kid, late.kid], { [a.kid]: t0 }, undefined],
  ])('mints until its last key is refused: %s', (_, keyIDs, revokedFrom, expected) => {
    const until = mintsUntil(keyring, keyIDs, policyOf(), ({ kid }) => revokedFrom[kid]);
    expect(until).toBe(expected);
  });
});
