import { beforeEach, describe, expect, test } from '@jest/globals';
import {
  activeKey,
  committedKey,
  type Keyring,
  type KeyringKey,
  publicKeys,
  spareKeys,
  stateOf,
} from '../../../operator/plan/keyring.ts';
import {
  type KeyPolicy,
  maxPublishedKeys,
  maxRemovedKeyIDs,
  spareCount,
} from '../../../operator/plan/policy.ts';
import { safeToRevokeAt } from '../../../operator/plan/rotation.ts';
import type { ServerObservation } from '../../../operator/plan/servers.ts';
import { keyEvents } from '../../../operator/status/changes.ts';
import {
  absent,
  active,
  day,
  find,
  held,
  hour,
  keyringOf,
  kids,
  minute,
  noServers,
  planned,
  plannedKeyring,
  policyOf,
  present,
  publishedOnly,
  ripening,
  second,
  serving,
  spare,
  t0,
  tracesOf,
} from './builders.ts';

const switchTime = 2 * minute + minute;
const due = t0 + 30 * day;
const ripe = (overrides: Partial<KeyringKey> = {}) => spare({ servedSince: t0, ...overrides });
const ripeKeyring = (overrides: Partial<Keyring> = {}) =>
  keyringOf({ keys: [active(), ripe(), ripe({ createdAt: t0 + 1 })], ...overrides });
const kidAt = (keyring: Keyring, index: number) => keyring.keys[index]?.kid as string;

const at = (
  now: number,
  keyring: Keyring,
  policy: Partial<KeyPolicy> = {},
  servers: ServerObservation = serving(keyring),
) =>
  plannedKeyring({
    policy: policyOf(policy),
    observed: present(keyring),
    traces: tracesOf(keyring),
    servers,
    now,
  });

describe('a rotation is due', () => {
  const cases: [string, number, Partial<KeyPolicy>, Partial<KeyringKey>, boolean][] = [
    ['not before interval', due - 1, {}, {}, false],
    ['at interval', due, {}, {}, true],
    ['at a shorter interval at once', t0 + day, { intervalMs: day }, {}, true],
    ['at the old interval although it is longer by now', due, { intervalMs: 90 * day }, {}, true],
    ['not before the old interval', due - 1, { intervalMs: 90 * day }, {}, false],
    ['at signUntil - grace', t0 + 5 * day, {}, { signUntil: t0 + 12 * day }, true],
    ['not before signUntil - grace', t0 + 5 * day - 1, {}, { signUntil: t0 + 12 * day }, false],
    ['when grace is longer than what is left', t0 + day, { graceMs: 36 * day }, {}, true],
    ['by a new rotateNow', t0 + day, { rotateNow: 'now' }, {}, true],
    ['by another algorithm', t0 + day, { algorithm: 'RS256' }, {}, true],
  ];
  test.each(cases)('%s', (_, now, policy, key, expected) => {
    const algorithm = policy.algorithm ?? 'ES256';
    const keyring = keyringOf({ keys: [active(key), ripe({ algorithm }), ripe({ algorithm })] });
    const { rotation, keyring: after } = at(now, keyring, policy);
    expect(rotation.reason).toBe(expected ? 'SwitchCommitted' : 'NotDue');
    expect(committedKey(after, now) !== undefined).toBe(expected);
  });

  test.each(['', 'handled'])('not by rotateNow %j, which was handled or asks for nothing', (rotateNow) => {
    const keyring = ripeKeyring({ handledRotateNow: 'handled' });
    expect(at(t0 + day, keyring, { rotateNow }).action).toBe('keep');
  });
});

describe('a switch is committed', () => {
  const keyring = ripeKeyring({ handledRotateNow: 'before' });
  let decision: ReturnType<typeof at>;
  let next: KeyringKey | undefined;
  beforeEach(() => {
    decision = at(due, keyring, { rotateNow: 'now' });
    next = committedKey(decision.keyring, due);
  });

  test('to the spare that verifiers have known for longest, the older of two', () => {
    expect(next?.kid).toBe(kidAt(keyring, 1));
    const later = keyringOf({ keys: [active(), ripe({ servedSince: t0 + hour }), ripe()] });
    expect(committedKey(at(due, later).keyring, due)?.kid).toBe(kidAt(later, 2));
    const older = keyringOf({ keys: [active(), ripe({ createdAt: t0 + 1 }), ripe()] });
    expect(committedKey(at(due, older).keyring, due)?.kid).toBe(kidAt(older, 2));
  });

  test('for all sidecars at once, when their files have come, with an end', () => {
    expect(next).toMatchObject({
      activateAt: due + switchTime,
      signUntil: due + switchTime + 37 * day,
      maxTTLMs: hour,
    });
    expect(decision.rotation).toEqual({ reason: 'SwitchCommitted', at: due + switchTime, kid: next?.kid });
    expect(decision.wakeAt).toBe(due + switchTime);
  });

  test('in a new revision, with a new spare; rotateNow is handled once the switch is over', () => {
    expect(decision).toMatchObject({ action: 'write', change: 'KeyringUpdated', before: keyring });
    expect(decision.keyring).toMatchObject({ revision: keyring.revision + 1, handledRotateNow: 'before' });
    const over = at(due + switchTime + minute, decision.keyring, { rotateNow: 'now' }).keyring;
    expect(over.handledRotateNow).toBe('now');
    expect(next?.rotateNow).toBe('now');
    expect(find(over, next?.kid)).not.toHaveProperty('rotateNow');
    expect(committedKey(over, due + switchTime + minute)).toBeUndefined();
    expect(spareKeys(decision.keyring)).toHaveLength(spareCount);
    expect(kids(decision.keyring)).toEqual(expect.arrayContaining(kids(keyring)));
  });

  test('while the old key signs on', () => {
    expect(activeKey(decision.keyring, due + switchTime - 1)?.kid).toBe(kidAt(keyring, 0));
    expect(activeKey(decision.keyring, due + switchTime)?.kid).toBe(next?.kid);
  });

  const changes: [string, Partial<KeyPolicy>][] = [
    ['interval', { intervalMs: hour }],
    ['a longer interval', { intervalMs: 300 * day }],
    ['verifierCacheTTL', { verifierCacheTTLMs: day }],
    ['propagation', { propagationMs: hour }],
    ['clockSkew', { clockSkewMs: 1 }],
    ['grace', { graceMs: minute }],
    ['a longer grace', { graceMs: 300 * day }],
    ['ttl.max', { maxTTLMs: 5 * hour }],
    ['algorithm', { algorithm: 'RS256' }],
    ['another rotateNow', { rotateNow: 'again' }],
    ['another revocation', { revokedKeyIDs: [kidAt(keyring, 2)] }],
  ];
  test.each(changes)('and stays as it is whatever the spec becomes: %s', (_, policy) => {
    const now = due + minute;
    const after = at(now, decision.keyring, { rotateNow: 'now', ...policy }).keyring;
    expect(committedKey(after, now)).toMatchObject({ kid: next?.kid, activateAt: due + switchTime });
    expect(after.keys.filter(({ activateAt = 0 }) => activateAt > now)).toHaveLength(1);
    expect(find(after, next?.kid)?.signUntil).toBe(next?.signUntil);
    expect(activeKey(after, now)?.kid).toBe(kidAt(keyring, 0));
  });

  const trouble: [string, Partial<ServerObservation>][] = [
    ['no ready server', { answers: [] }],
    ['a server that lacks it', { answers: [[kidAt(keyring, 0)]] }],
    ['a stranger', { answers: [[...kids(keyring), 'strange']] }],
    ['clocks that differ', { clockDifferenceMs: day }],
  ];
  test.each(trouble)('and stays as it is with %s', (_, servers) => {
    const after = at(
      due + minute,
      decision.keyring,
      { rotateNow: 'now' },
      { ...serving(decision.keyring), ...servers },
    );
    expect(committedKey(after.keyring, due + minute)).toMatchObject({ activateAt: due + switchTime });
  });

  test('one at a time: the next wish waits until every sidecar has followed', () => {
    const policy = { rotateNow: 'again' };
    const { keyring: switched, rotation } = at(due + switchTime, decision.keyring, policy);
    expect(committedKey(switched, due + switchTime)).toBeUndefined();
    expect(rotation).toEqual({
      reason: 'WaitingForSidecars',
      problem: expect.stringContaining(new Date(due + switchTime + minute).toISOString()),
    });
    expect(switched.handledRotateNow).toBe('before');
    const { keyring: following } = at(due + switchTime + minute, switched, policy);
    expect(committedKey(following, due + switchTime + minute)?.kid).toBe(kidAt(keyring, 2));
    expect(following.handledRotateNow).toBe('now');
  });

  test('from which a longer interval counts', () => {
    const { keyring: longer } = at(due, ripeKeyring(), { intervalMs: 90 * day });
    expect(committedKey(longer, due)?.signUntil).toBe(due + switchTime + 97 * day);
  });
});

describe('a rotation that is due waits', () => {
  const keyring = ripeKeyring();
  const all = kids(keyring);
  const cases: [string, ServerObservation, string, string][] = [
    ['for a ready server', noServers, 'WaitingForServers', 'no ready server pod was seen to serve'],
    ['for a silent server alone', { ...noServers, silent: 1 }, 'WaitingForServers', 'no ready server pod'],
    [
      'for a silent server beside others',
      serving(keyring, { silent: 1 }),
      'WaitingForServers',
      'a ready server pod gives no JWKS',
    ],
    [
      'for a server that lacks the next key',
      serving(keyring, { answers: [all, all.slice(0, 1)] }),
      'WaitingForServers',
      'a ready server pod does not serve the next key yet',
    ],
    [
      'for an external URL that lacks the next key',
      serving(keyring, { external: all.slice(0, 1) }),
      'WaitingForExternalURL',
      'the set at spec.server.externalURL lacks the next key',
    ],
    [
      'for the pods first, where an external URL lacks it as well',
      serving(keyring, { answers: [all, all.slice(0, 1)], external: all.slice(0, 1) }),
      'WaitingForServers',
      'a ready server pod does not serve the next key yet',
    ],
    [
      'for pods, whatever an external URL serves',
      { ...noServers, external: all },
      'WaitingForServers',
      'no ready server pod was seen to serve',
    ],
    [
      "while an external URL serves a stranger's keys",
      serving(keyring, { external: [...all, 'strange'] }),
      'UnknownKeyServed',
      'spec.server.externalURL serves keys that the keyring never had (strange)',
    ],
    [
      "while a stranger's keys are served",
      serving(keyring, { answers: [all, [...all, 'strange', 'stranger']] }),
      'UnknownKeyServed',
      'a server serves keys that the keyring never had (strange, stranger)',
    ],
    [
      'while clocks differ',
      serving(keyring, { clockDifferenceMs: minute + 1 }),
      'ClocksDiffer',
      'differ by more than clockSkew (60 s): set the clocks right',
    ],
  ];
  test.each(cases)('%s, says why, and the old key signs on', (_, servers, reason, why) => {
    const decision = at(due, keyring, {}, servers);
    expect(decision.rotation).toMatchObject({ reason, problem: expect.stringContaining(why) });
    expect(committedKey(decision.keyring, due)).toBeUndefined();
    expect(activeKey(decision.keyring, due)?.kid).toBe(all[0]);
  });

  test('not for clocks that differ by clockSkew', () => {
    const { rotation } = at(due, keyring, {}, serving(keyring, { clockDifferenceMs: minute }));
    expect(rotation.reason).toBe('SwitchCommitted');
  });

  test('not for an external URL that serves all, and whose clock is not looked at', () => {
    expect(at(due, keyring, {}, serving(keyring, { external: all })).rotation.reason).toBe('SwitchCommitted');
  });

  test('until the external URL too has served the next key for as long as a verifier keeps what it has', () => {
    const lacking = at(due, keyring, {}, serving(keyring, { external: all.slice(0, 1) })).keyring;
    expect(lacking.keys.map(({ servedSince }) => servedSince)).toEqual([
      keyring.keys[0]?.servedSince,
      undefined,
      undefined,
    ]);
    const seen = at(due + minute, lacking, {}, serving(lacking, { external: kids(lacking) }));
    expect(seen.rotation.reason).toBe('WaitingForVerifiers');
    const later = due + minute + ripening;
    const { rotation } = at(later, seen.keyring, {}, serving(lacking, { external: kids(lacking) }));
    expect(rotation.reason).toBe('SwitchCommitted');
  });

  test('not for a server that still serves a key that was there once', () => {
    const once = ripeKeyring({ removedKeyIDs: ['once'] });
    const { rotation } = at(due, once, {}, serving(once, { answers: [[...kids(once), 'once']] }));
    expect(rotation.reason).toBe('SwitchCommitted');
  });

  test.each(['UnknownKeyServed', 'ClocksDiffer'])('%s is told also while none is due', (reason) => {
    const servers = serving(keyring, { answers: [[...all, 'strange']] });
    const clocks = serving(keyring, { clockDifferenceMs: hour });
    const { rotation } = at(t0 + day, keyring, {}, reason === 'ClocksDiffer' ? clocks : servers);
    expect(rotation.reason).toBe(reason);
  });

  test('until the next key was served for as long as a verifier keeps what it has', () => {
    const servedSince = due - ripening + 1;
    const young = keyringOf({ keys: [active(), spare({ servedSince }), spare({ servedSince: due })] });
    const waiting = at(due, young);
    expect(waiting.rotation).toEqual({
      reason: 'WaitingForVerifiers',
      problem: expect.stringContaining(new Date(due + 1).toISOString()),
    });
    expect(waiting.wakeAt).toBe(due + 1);
    expect(at(due + 1, young).rotation.reason).toBe('SwitchCommitted');
  });

  test('for longer when verifiers keep it longer', () => {
    const young = keyringOf({ keys: [active(), spare({ servedSince: due - ripening }), spare()] });
    const { rotation } = at(due, young, { verifierCacheTTLMs: 5 * minute + 1 });
    expect(rotation.reason).toBe('WaitingForVerifiers');
  });

  test.each([
    [maxPublishedKeys - 1, { reason: 'SwitchCommitted' }],
    [
      maxPublishedKeys,
      {
        reason: 'TooManyKeys',
        problem: expect.stringContaining('64 keys are published: the next rotation waits'),
      },
    ],
  ])('with %i keys: %j', (count, expected) => {
    const others = Array.from({ length: count - 3 }, () => publishedOnly({ removeAt: due + day }));
    const many = keyringOf({ keys: [active(), ripe(), ripe(), ...others] });
    const { rotation, keyring: after } = at(due, many);
    expect(rotation).toMatchObject(expected);
    expect(after.keys.length).toBeLessThanOrEqual(maxPublishedKeys);
  });
});

describe('since when a key is served', () => {
  const fresh = keyringOf();
  const [first, second_] = [kidAt(fresh, 1), kidAt(fresh, 2)];
  const all = kids(fresh);
  const since = (keyring: Keyring, servers: ServerObservation, now = t0 + hour) =>
    at(now, keyring, {}, servers)
      .keyring.keys.slice(1, 3)
      .map(({ servedSince }) => servedSince);

  test('is when all that were asked had it', () => {
    expect(since(fresh, serving(fresh))).toEqual([t0 + hour, t0 + hour]);
    expect(since(fresh, { ...noServers, answers: [all, [first]] })).toEqual([t0 + hour, undefined]);
  });

  test('is not told by no server, nor beside a silent one', () => {
    expect(since(fresh, noServers)).toEqual([undefined, undefined]);
    expect(since(fresh, serving(fresh, { silent: 1 }))).toEqual([undefined, undefined]);
  });

  const known = ripeKeyring();
  test('stays through silence and absence, and with a new pod that serves it', () => {
    for (const servers of [
      noServers,
      serving(known, { silent: 1 }),
      serving(known),
      { ...serving(known), answers: [kids(known)] },
    ])
      expect(since(known, servers)).toEqual([t0, t0]);
  });

  test('begins again when a pod lacks it', () => {
    expect(since(known, { ...noServers, answers: [kids(known), kids(known).slice(0, 2)] })).toEqual([
      t0,
      undefined,
    ]);
  });

  test('is no new revision, since nothing derives from it', () => {
    const decision = at(t0 + hour, fresh);
    expect(decision).toMatchObject({ action: 'write', keyring: { revision: fresh.revision } });
    expect(second_).toBeDefined();
  });

  test('no longer changes once a switch is committed', () => {
    const committed = keyringOf({
      keys: [active(), ripe({ activateAt: due, signUntil: due + day, maxTTLMs: hour }), ripe(), ripe()],
    });
    const after = at(due - minute, committed, {}, { ...noServers, answers: [[]] }).keyring;
    expect(find(after, kidAt(committed, 1))?.servedSince).toBe(t0);
  });
});

describe('a key retires', () => {
  const old = active({ maxTTLMs: 2 * hour });
  const taken = active({ activateAt: due, signUntil: due + 37 * day, servedSince: t0 });
  const keyring = keyringOf({ keys: [old, taken, ripe(), ripe()] });

  test('not while a sidecar may still sign with it', () => {
    const { keyring: after, wakeAt } = at(due + minute - 1, keyring);
    expect(find(after, old.kid)?.privateKey).toBeDefined();
    expect(wakeAt).toBe(due + minute);
  });

  let decision: ReturnType<typeof at>;
  let retired: KeyringKey | undefined;
  beforeEach(() => {
    decision = at(due + minute, keyring);
    retired = find(decision.keyring, old.kid);
  });
  test('at activateAt + clockSkew: its private part is nowhere any more', () => {
    expect(retired).toBeDefined();
    expect(retired?.privateKey).toBeUndefined();
    expect(stateOf(decision.keyring, retired as KeyringKey, due + minute)).toBe('Retired');
    expect(decision.keyring.revision).toBe(keyring.revision + 1);
  });

  const end = t0 + 37 * day + 2 * hour + minute + minute;
  test('and leaves the JWKS when no token of it can be alive', () => {
    expect(retired?.removeAt).toBe(end);
    expect(find(at(end - 1, decision.keyring).keyring, old.kid)).toBeDefined();
    const { keyring: gone } = at(end, decision.keyring);
    expect(find(gone, old.kid)).toBeUndefined();
    expect(gone.removedKeyIDs).toContain(old.kid);
  });

  test.each<[string, Partial<KeyPolicy>]>([
    ['ttl.max', { maxTTLMs: second }],
    ['interval', { intervalMs: hour }],
    ['grace', { graceMs: minute }],
    ['clockSkew', { clockSkewMs: 1 }],
    ['verifierCacheTTL', { verifierCacheTTLMs: second }],
  ])('and not earlier with a smaller %s', (_, policy) => {
    const { keyring: after } = at(due + hour, decision.keyring, policy);
    expect(find(after, old.kid)?.removeAt).toBe(end);
  });

  test.each<[string, Partial<ServerObservation>]>([
    ["a stranger's key is served", { answers: [[...kids(keyring), 'strange']] }],
    ['clocks differ', { clockDifferenceMs: hour }],
  ])('and not while %s', (_, servers) => {
    const after = at(end, decision.keyring, {}, { ...serving(decision.keyring), ...servers }).keyring;
    expect(find(after, old.kid)).toBeDefined();
  });

  test('is safe to revoke once sidecars that follow have followed, and their tokens are dead', () => {
    const confirmed = (distributedAt: number) => ({
      ...decision.keyring,
      keys: decision.keyring.keys.map((key) => (key.kid === taken.kid ? { ...key, distributedAt } : key)),
    });
    const rest = 2 * minute + 2 * hour + minute + minute;
    const safe = (some: Keyring) => safeToRevokeAt(some, retired as KeyringKey, policyOf());
    expect(safe(confirmed(due - hour))).toBe(due + rest);
    expect(safe(confirmed(due + hour))).toBe(due + hour + rest);
    // Files that have a later key have none that could sign with this one, whoever has come between. Its own tell nothing.
    const later = active({ activateAt: due + day, distributedAt: due + 2 * hour });
    const others = decision.keyring.keys.map(({ distributedAt: _, ...key }) =>
      key.kid === old.kid ? { ...key, distributedAt: t0 } : key,
    );
    const of = (...keys: KeyringKey[]) => ({ ...decision.keyring, keys });
    expect(safe(of(...others))).toBeUndefined();
    expect(safe(of(...others, later))).toBe(due + 2 * hour + rest);
    expect(safe(of(...confirmed(due + hour).keys, later))).toBe(due + hour + rest);
    const unknown = { ...(retired as KeyringKey), maxTTLMs: undefined } as unknown as KeyringKey;
    expect(safeToRevokeAt(confirmed(due), unknown, policyOf())).toBe(due + rest - 2 * hour + day);
    expect(safeToRevokeAt(confirmed(due), taken, policyOf())).toBeUndefined();
  });

  test('when its successor was distributed is written down once, and is no new revision', () => {
    const { keyring: after, action } = at(due - minute, keyring);
    expect(action).toBe('write');
    expect(find(after, taken.kid)?.distributedAt).toBe(due - minute);
    expect(find(after, old.kid)?.distributedAt).toBeUndefined();
    expect(after.revision).toBe(keyring.revision);
    expect(find(at(due, after).keyring, taken.kid)?.distributedAt).toBe(due - minute);
  });

  test('when its successor was distributed is not said before an agent Secret holds it', () => {
    const traces = tracesOf(keyring, { distributed: [held(old)] });
    const { keyring: after } = plannedKeyring({
      policy: policyOf(),
      observed: present(keyring),
      traces,
      servers: serving(keyring),
      now: due - minute,
    });
    expect(after).toEqual(keyring);
  });

  test('no earlier than it was said to, when it is retired anew', () => {
    const told = { ...keyring, keys: [{ ...old, removeAt: end + day }, ...keyring.keys.slice(1)] };
    expect(find(at(due + minute, told).keyring, old.kid)?.removeAt).toBe(end + day);
  });

  test('and others keep what they have: the key that signs, spares, and what retired before', () => {
    const before = publishedOnly({ activateAt: t0 - day, removeAt: end + day });
    const all = { ...keyring, keys: [...keyring.keys, before] };
    const after = at(due + minute, all).keyring;
    const unchanged = [{ ...taken, distributedAt: due + minute }, ...all.keys.slice(2)];
    expect(after.keys.slice(1)).toEqual(unchanged);
  });

  test('not while a later switch is committed: that key signs next', () => {
    const committed = active({ activateAt: due + hour, signUntil: due + 38 * day, distributedAt: due });
    const all = { ...keyring, keys: [...keyring.keys, committed] };
    expect(find(at(due + minute, all).keyring, committed.kid)).toEqual(committed);
  });
});

describe('another algorithm', () => {
  const policy = { algorithm: 'RS256' } as const;
  const keyring = ripeKeyring();
  let asked: Keyring;
  let seen: Keyring;
  let committed: Keyring;
  beforeEach(() => {
    asked = at(t0 + day, keyring, policy).keyring;
    seen = at(t0 + day + minute, asked, policy).keyring;
    committed = at(t0 + day + minute + ripening, seen, policy).keyring;
  });

  test('ripens in two spares beside the old ones', () => {
    expect(asked.keys.map(({ algorithm }) => algorithm)).toEqual([
      'ES256',
      'ES256',
      'ES256',
      'RS256',
      'RS256',
    ]);
    expect(committedKey(asked, t0 + day)).toBeUndefined();
  });

  test('takes over when it is ripe, and only then the old spares go', () => {
    expect(spareKeys(seen)).toHaveLength(4);
    expect(committedKey(committed, t0 + day + minute + ripening)?.algorithm).toBe('RS256');
    expect(spareKeys(committed).map(({ algorithm }) => algorithm)).toEqual(['RS256', 'RS256']);
    expect(committed.removedKeyIDs).toEqual([kidAt(keyring, 1), kidAt(keyring, 2)]);
  });

  test('that is taken back leaves the old spares ripe, and the new ones go', () => {
    const { keyring: back } = at(t0 + day + minute, asked);
    expect(back.keys.map(({ kid }) => kid)).toEqual(kids(keyring));
    expect(spareKeys(back).map(({ servedSince }) => servedSince)).toEqual([t0, t0]);
  });

  test('that is taken back after the commit is a rotation back', () => {
    const now = t0 + day + 2 * minute + ripening;
    const { keyring: back } = at(now, committed);
    expect(committedKey(back, now)?.algorithm).toBe('RS256');
    expect(spareKeys(back).map(({ algorithm }) => algorithm)).toEqual(['RS256', 'RS256', 'ES256', 'ES256']);
  });

  test('publishes no more than 64 keys', () => {
    const others = Array.from({ length: 60 }, () => publishedOnly({ removeAt: due }));
    const many = keyringOf({ keys: [active(), ripe(), ripe(), ...others] });
    expect(at(t0 + day, many, policy).keyring.keys.length).toBeLessThanOrEqual(maxPublishedKeys);
  });
});

describe('signUntil', () => {
  test('is put off when a rotation is held up with less than half of grace left', () => {
    const now = due + 4 * day;
    const { keyring } = at(now, ripeKeyring(), {}, noServers);
    expect(activeKey(keyring, now)?.signUntil).toBe(now + 7 * day);
  });

  test('is not put off before', () => {
    const now = due + 3.5 * day - 1;
    expect(activeKey(at(now, ripeKeyring(), {}, noServers).keyring, now)?.signUntil).toBe(t0 + 37 * day);
  });

  test('is not put off where the switch comes before it', () => {
    const now = due + 4 * day;
    const { keyring } = at(now, ripeKeyring());
    expect(committedKey(keyring, now)).toBeDefined();
    expect(find(keyring, activeKey(keyring, now)?.kid)?.signUntil).toBe(t0 + 37 * day);
  });

  test.each([
    ['is put off where that comes too late for a sidecar whose clock is behind', -1, 7 * day],
    ['is not put off where every sidecar has switched by then', 0, undefined],
  ])('%s', (_, more, expected) => {
    const end = switchTime + minute + more;
    const keyring = keyringOf({ keys: [active({ signUntil: due + end }), ripe(), ripe()] });
    const after = at(due, keyring).keyring;
    expect(committedKey(after, due)?.activateAt).toBe(due + switchTime);
    expect(activeKey(after, due)?.signUntil).toBe(due + (expected ?? end));
  });

  test('is put off of the signing key alone', () => {
    const keyring = keyringOf({
      keys: [active(), ripe(), publishedOnly({ signUntil: t0, removeAt: due + day * 30 }), ripe()],
    });
    const after = at(due + 4 * day, keyring, {}, noServers).keyring;
    expect(after.keys.slice(1)).toEqual(keyring.keys.slice(1));
  });
});

describe('ttl.max', () => {
  const keyring = keyringOf({
    keys: [active(), active({ activateAt: due, signUntil: due + 37 * day }), ripe(), ripe()],
  });
  test('is recorded for each key that may sign, before files allow it', () => {
    const { keyring: after } = at(due - minute, keyring, { maxTTLMs: 3 * hour });
    expect(after.keys.map(({ maxTTLMs }) => maxTTLMs)).toEqual([3 * hour, 3 * hour, undefined, undefined]);
    expect(after.revision).toBe(keyring.revision + 1);
  });
  test('shortens nothing', () => {
    const { keyring: after } = at(due - minute, keyring, { maxTTLMs: minute });
    expect(after.keys.map(({ maxTTLMs }) => maxTTLMs)).toEqual([hour, hour, undefined, undefined]);
  });
  test('of a retired key stays what it was', () => {
    const { keyring: after } = at(due + minute, keyring, { maxTTLMs: 3 * hour });
    expect(find(after, kidAt(keyring, 0))?.removeAt).toBe(t0 + 37 * day + hour + 2 * minute);
  });
});

describe('a revocation waits for nothing', () => {
  const now = due + 10 * minute;
  const previous = active();
  const current = active({ activateAt: due + 9.5 * minute, signUntil: due + 37 * day, servedSince: t0 });
  const right = keyringOf({ keys: [previous, current, ripe(), ripe({ createdAt: t0 + 1 })] });
  const plain = ripeKeyring();
  const revoke = (keyring: Keyring, some: string[], servers: ServerObservation = noServers, policy = {}) =>
    at(now, keyring, { revokedKeyIDs: some, ...policy }, servers);

  test('of the active key: the ripest spare signs at once, and verifiers know it', () => {
    const gone = kidAt(plain, 0);
    const { keyring, action } = revoke(plain, [gone]);
    expect(action).toBe('write');
    expect(activeKey(keyring, now)).toMatchObject({
      kid: kidAt(plain, 1),
      activateAt: now,
      signUntil: now + 37 * day,
    });
    expect(activeKey(keyring, now)?.acceptedFrom).toBeUndefined();
    expect(kids(keyring)).not.toContain(gone);
    expect(spareKeys(keyring)).toHaveLength(spareCount);
    expect(keyring.removedKeyIDs).toContain(gone);
    expect(keyring.revoked).toEqual([
      {
        kid: gone,
        algorithm: 'ES256',
        revokedAt: now,
        safeAt: now + 7.5 * minute,
        safeAtWorst: now + 7.5 * minute + hour,
      },
    ]);
  });

  test('of a key right after its switch: the one before does not take over again', () => {
    const { keyring } = revoke(right, [current.kid]);
    expect(activeKey(keyring, now)?.kid).toBe(kidAt(right, 2));
    expect(kids(keyring)).toContain(previous.kid);
  });

  test('of the previous key leaves the active one alone', () => {
    const { keyring } = revoke(right, [previous.kid]);
    expect(activeKey(keyring, now)).toMatchObject({ kid: current.kid, activateAt: current.activateAt });
    expect(kids(keyring)).not.toContain(previous.kid);
  });

  test('of a spare: another comes', () => {
    const { keyring } = revoke(plain, [kidAt(plain, 1)]);
    expect(activeKey(keyring, now)?.kid).toBe(kidAt(plain, 0));
    expect(spareKeys(keyring)).toHaveLength(spareCount);
    expect(kids(keyring)).not.toContain(kidAt(plain, 1));
  });

  const withCommitted = keyringOf({
    keys: [
      active(),
      active({ activateAt: now + minute, signUntil: now + minute + 37 * day, servedSince: t0 }),
      ripe(),
      ripe(),
    ],
  });
  test('of the active key with a switch committed: that one is brought forward', () => {
    const { keyring } = revoke(withCommitted, [kidAt(withCommitted, 0)]);
    expect(activeKey(keyring, now)).toMatchObject({ kid: kidAt(withCommitted, 1), activateAt: now });
    expect(spareKeys(keyring)).toHaveLength(spareCount);
  });

  // Sidecars with older files sign by the bounds of the commit.
  test('and its signUntil, which files may hold already, does not move earlier', () => {
    const { keyring } = revoke(withCommitted, [kidAt(withCommitted, 0)]);
    const before = withCommitted.keys[1]?.signUntil as number;
    expect(activeKey(keyring, now)?.signUntil).toBeGreaterThanOrEqual(before);
  });

  test('and the longest lifetime that files allowed stays recorded', () => {
    const { keyring } = revoke(withCommitted, [kidAt(withCommitted, 0)], noServers, { maxTTLMs: minute });
    expect(activeKey(keyring, now)?.maxTTLMs).toBe(hour);
  });

  test('of the committed key: the active one signs on, and the next is committed once it may', () => {
    const { keyring } = revoke(withCommitted, [kidAt(withCommitted, 1)], serving(withCommitted));
    expect(activeKey(keyring, now)?.kid).toBe(kidAt(withCommitted, 0));
    expect(committedKey(keyring, now)).toMatchObject({
      kid: kidAt(withCommitted, 2),
      activateAt: now + switchTime,
    });
  });

  test('of everything: a new key signs, and says from when it is accepted', () => {
    const { keyring } = revoke(plain, kids(plain));
    expect(keyring.keys).toHaveLength(1 + spareCount);
    expect(activeKey(keyring, now)?.acceptedFrom).toBe(now + 2 * minute + ripening);
    expect(keyring.revoked.map(({ kid }) => kid)).toEqual(kids(plain));
    expect(publicKeys(keyring)).toHaveLength(1 + spareCount);
  });

  test('with spares that ripen still: accepted from when they are ripe', () => {
    const young = keyringOf({
      keys: [active(), spare({ servedSince: now - minute }), spare({ servedSince: now - 2 * minute })],
    });
    const { keyring } = revoke(young, [kidAt(young, 0)], serving(young));
    expect(activeKey(keyring, now)).toMatchObject({
      kid: kidAt(young, 2),
      acceptedFrom: now - 2 * minute + ripening,
    });
  });

  test('verifiers know a spare that is ripe at this very instant', () => {
    const just = keyringOf({ keys: [active(), spare({ servedSince: now - ripening }), spare()] });
    const { keyring } = revoke(just, [kidAt(just, 0)]);
    expect(activeKey(keyring, now)?.kid).toBe(kidAt(just, 1));
    expect(activeKey(keyring, now)).not.toHaveProperty('acceptedFrom');
  });

  test('with spares that nobody was seen to serve: the oldest signs', () => {
    const fresh = keyringOf({ keys: [active(), spare({ createdAt: t0 + 1 }), spare()] });
    const { keyring } = revoke(fresh, [kidAt(fresh, 0)]);
    expect(activeKey(keyring, now)?.kid).toBe(kidAt(fresh, 2));
  });

  test('a spare of the right algorithm that is ripe signs, although one of another is known for longer', () => {
    const both = keyringOf({
      keys: [
        active(),
        ripe({ algorithm: 'RS256', servedSince: t0 - day }),
        ripe({ servedSince: now - ripening }),
        ripe({ servedSince: now }),
      ],
    });
    const { keyring } = revoke(both, [kidAt(both, 0)]);
    expect(activeKey(keyring, now)?.kid).toBe(kidAt(both, 2));
  });

  test('the ripest of another algorithm signs while none of the right one is ripe', () => {
    const both = keyringOf({
      keys: [
        active(),
        spare({ servedSince: now - minute }),
        spare(),
        ripe({ algorithm: 'RS256', servedSince: now - ripening + 1 }),
        ripe({ algorithm: 'RS256', servedSince: now - ripening }),
      ],
    });
    expect(activeKey(revoke(both, [kidAt(both, 0)]).keyring, now)?.kid).toBe(kidAt(both, 4));
    const unripe = { ...both, keys: both.keys.slice(0, 4) };
    expect(activeKey(revoke(unripe, [kidAt(both, 0)]).keyring, now)?.kid).toBe(kidAt(both, 1));
  });

  describe('right after a switch, with no room for another key', () => {
    const others = Array.from({ length: maxPublishedKeys }, () => publishedOnly({ removeAt: now + day }));

    test('a spare of another algorithm signs rather than the key before', () => {
      const full = keyringOf({ keys: [previous, current, spare({ algorithm: 'RS256' }), ...others] });
      const { keyring } = revoke(full, [current.kid]);
      expect(activeKey(keyring, now)?.kid).toBe(kidAt(full, 2));
    });

    test('and without any spare, the key before signs on', () => {
      const full = keyringOf({ keys: [previous, current, ...others] });
      const { keyring } = revoke(full, [current.kid]);
      expect(activeKey(keyring, now)?.kid).toBe(previous.kid);
    });
  });

  test('a key without a private part never takes over, whatever time it was given', () => {
    const keyring = keyringOf({
      keys: [active(), publishedOnly({ activateAt: now + hour, removeAt: now + day }), ripe(), ripe()],
    });
    const after = revoke(keyring, [kidAt(keyring, 0)]).keyring;
    expect(activeKey(after, now)?.kid).toBe(kidAt(keyring, 2));
    expect(find(after, kidAt(keyring, 1))).toEqual(keyring.keys[1]);
  });

  test('gives the time to sign to one key alone', () => {
    const { keyring } = revoke(plain, [kidAt(plain, 0)]);
    expect(find(keyring, kidAt(plain, 2))).toEqual(plain.keys[2]);
  });

  test('while another algorithm ripens: the ripest spare is one of the old algorithm', () => {
    const { keyring } = revoke(plain, [kidAt(plain, 0)], serving(plain), { algorithm: 'RS256' });
    expect(activeKey(keyring, now)).toMatchObject({ kid: kidAt(plain, 1) });
    expect(activeKey(keyring, now)?.acceptedFrom).toBeUndefined();
  });

  test('taking a kid out of the list restores nothing', () => {
    const { keyring } = revoke(plain, [kidAt(plain, 0)]);
    const { keyring: after } = at(now + minute, keyring);
    expect(kids(after)).not.toContain(kidAt(plain, 0));
    expect(after.revoked).toEqual(keyring.revoked);
  });

  test('of a key that never was is no revocation', () => {
    expect(revoke(plain, ['never'])).toMatchObject({ action: 'keep' });
  });

  test('of one more key is made beside the ones that were made before', () => {
    const { keyring } = revoke(plain, [kidAt(plain, 0)]);
    const after = revoke(keyring, [kidAt(plain, 0), kidAt(plain, 2)]).keyring;
    expect(after.revoked.map(({ kid }) => kid)).toEqual([kidAt(plain, 0), kidAt(plain, 2)]);
    expect(kids(after)).not.toContain(kidAt(plain, 2));
  });

  test('is made once, and the second look changes nothing', () => {
    const { keyring } = revoke(plain, [kidAt(plain, 0)]);
    expect(revoke(keyring, [kidAt(plain, 0)])).toMatchObject({ action: 'keep', keyring });
  });

  test('holds although the keyring is rebuilt, and status alone tells of it', () => {
    const { keyring } = revoke(plain, [kidAt(plain, 0)]);
    const decision = plannedKeyring({
      policy: policyOf(),
      observed: absent,
      traces: tracesOf(keyring, {
        published: publicKeys(plain),
        distributed: [held(plain.keys[0] as KeyringKey)],
      }),
      now,
    });
    expect(kids(decision.keyring)).not.toContain(kidAt(plain, 0));
    expect(decision.keyring.revoked).toEqual(keyring.revoked);
  });

  test('holds although an older copy that has the key is merged', () => {
    const { keyring } = revoke(plain, [kidAt(plain, 0)]);
    const decision = plannedKeyring({
      policy: policyOf({ rotateNow: 'go' }),
      observed: present(plain),
      traces: tracesOf(keyring),
      now,
    });
    expect(decision).toMatchObject({ change: 'KeyringMerged' });
    expect(kids(decision.keyring)).not.toContain(kidAt(plain, 0));
    expect(decision.keyring.revoked).toEqual(keyring.revoked);
  });

  test('holds for a key that was removed already, when an older copy brings it back', () => {
    const removed = { ...plain, revision: 9, keys: plain.keys.slice(1), removedKeyIDs: [kidAt(plain, 0)] };
    const { keyring } = revoke(removed, [kidAt(plain, 0)]);
    const decision = plannedKeyring({
      policy: policyOf({ rotateNow: 'go' }),
      observed: present(plain),
      traces: tracesOf(keyring, { distributed: [] }),
      now,
    });
    expect(kids(decision.keyring)).not.toContain(kidAt(plain, 0));
  });
});

describe('a clock that is a little behind, after a change of leader', () => {
  test('moves nothing of the first key', () => {
    const keyring = ripeKeyring();
    expect(at(t0 - 30 * second, keyring)).toMatchObject({ action: 'keep', keyring });
  });
});

describe('a lost keyring with 64 published keys', () => {
  test('is replaced by consent with one that signs', () => {
    const lost = keyringOf({ keys: Array.from({ length: maxPublishedKeys }, () => publishedOnly()) });
    const { keyring } = plannedKeyring({
      policy: policyOf({ rotateNow: 'go' }),
      observed: absent,
      traces: tracesOf(lost, { distributed: [], observedRotateNow: '' }),
      now: t0,
    });
    expect(activeKey(keyring, t0)).toBeDefined();
  });
});

describe('a rotateNow whose switch was revoked before it came', () => {
  test('is made up for once the gate opens', () => {
    const keyring = at(t0 + day, ripeKeyring(), { rotateNow: 'x' }).keyring;
    const policy = { rotateNow: 'x', revokedKeyIDs: [kidAt(keyring, 1)] };
    const waiting = at(t0 + day + second, keyring, policy, noServers).keyring;
    const { rotation } = at(t0 + day + minute, waiting, policy);
    expect(rotation.reason).toBe('SwitchCommitted');
  });
});

describe('a rebuilt keyring', () => {
  test('says from when a key is accepted that was not published any more', () => {
    const gone = active();
    const { keyring } = plannedKeyring({
      policy: policyOf(),
      observed: absent,
      traces: tracesOf(ripeKeyring(), { distributed: [held(gone)] }),
      now: t0 + day,
    });
    expect(activeKey(keyring, t0 + day)).toMatchObject({ kid: gone.kid, acceptedFrom: expect.any(Number) });
  });

  test('still does the rotation that was asked for', () => {
    const keyring = ripeKeyring();
    const { keyring: after } = plannedKeyring({
      policy: policyOf({ rotateNow: 'wanted' }),
      observed: absent,
      traces: tracesOf(keyring),
      now: t0 + day,
    });
    expect(after.handledRotateNow).toBe('');
  });
});

describe('an older copy, merged by consent', () => {
  const now = due + hour;
  const merge = (copy: Keyring, newest: Keyring, distributed = tracesOf(newest).distributed) =>
    plannedKeyring({
      policy: policyOf({ rotateNow: 'go', algorithm: 'RS256' }),
      observed: present(copy),
      traces: tracesOf(newest, { distributed }),
      now,
    }).keyring;
  const copy = ripeKeyring({ revision: 3 });
  const [a, b] = copy.keys as [KeyringKey, KeyringKey];
  const { privateKey: _, ...publicA } = a;
  const { privateKey: __, ...publicB } = b;

  test('withdraws a key that retired since no earlier than files allow', () => {
    const told = t0 + 60 * day;
    const newest = keyringOf({
      revision: 9,
      keys: [
        { ...publicA, signUntil: told, removeAt: told + hour },
        active({ activateAt: due }),
        spare(),
        spare(),
      ],
    });
    const after = merge(copy, newest);
    const later = plannedKeyring({
      policy: policyOf({ rotateNow: 'go', algorithm: 'RS256' }),
      observed: present(after),
      traces: tracesOf(after),
      servers: noServers,
      now: now + hour,
    }).keyring;
    expect(find(later, a.kid)?.removeAt).toBeGreaterThanOrEqual(told);
  });

  test('drops no key as unused that has signed since', () => {
    const newest = keyringOf({
      revision: 9,
      keys: [
        { ...publicB, activateAt: t0, signUntil: now + day, maxTTLMs: hour, removeAt: now + 2 * day },
        active({ algorithm: 'RS256', activateAt: due }),
        spare({ algorithm: 'RS256' }),
        spare({ algorithm: 'RS256' }),
      ],
    });
    expect(kids(merge(copy, newest))).toContain(b.kid);
  });
});

describe('an older copy whose signing key left the JWKS since', () => {
  test('says from when that is accepted', () => {
    const copy = ripeKeyring({ revision: 3 });
    const newest = keyringOf({ revision: 9, keys: [active({ activateAt: due }), spare(), spare()] });
    const { keyring } = plannedKeyring({
      policy: policyOf({ rotateNow: 'go' }),
      observed: present(copy),
      traces: tracesOf(newest, { distributed: [] }),
      now: due + hour,
    });
    expect(activeKey(keyring, due + hour)?.acceptedFrom).toBeGreaterThan(due + hour);
  });
});

describe('a stale keyring that waits', () => {
  test('never publishes an empty JWKS', () => {
    const keyring = keyringOf({ revision: 3 });
    const newest = { ...keyring, revision: 9 };
    const decision = plannedOrHeld(keyring, newest, kids(keyring));
    expect(
      decision.action === 'hold' && (decision.publish === undefined || decision.publish.length > 0),
    ).toBe(true);
  });
});

function plannedOrHeld(keyring: Keyring, newest: Keyring, revokedKeyIDs: string[]) {
  return planned({
    policy: policyOf({ revokedKeyIDs }),
    observed: present(keyring),
    traces: tracesOf(newest),
    now: t0,
  });
}

describe('Events of keys', () => {
  const reasons = (
    before: Keyring,
    now: number,
    policy: Partial<KeyPolicy> = {},
    servers = serving(before),
  ) => {
    const decision = at(now, before, policy, servers);
    return keyEvents(before, decision.keyring, now).map(({ type, reason, note }) => [type, reason, note]);
  };
  const plain = ripeKeyring();
  const old = kidAt(plain, 0);
  const next = kidAt(plain, 1);
  const switched = due + switchTime + minute;
  let committed: Keyring;
  let retired: Keyring;
  beforeEach(() => {
    committed = at(due, plain).keyring;
    retired = at(switched, committed).keyring;
  });

  test('tell of the commit and its time', () => {
    expect(reasons(ripeKeyring(), due)).toEqual([
      ['Normal', 'SwitchCommitted', expect.stringContaining(new Date(due + switchTime).toISOString())],
    ]);
  });
  test('tell of the retirement and when the key leaves', () => {
    expect(reasons(committed, switched)).toEqual([['Normal', 'KeyRetired', expect.stringContaining(old)]]);
  });
  test('tell of the removal', () => {
    const end = (find(retired, old)?.removeAt ?? 0) + 1;
    const told = reasons(retired, end);
    expect(told).toContainEqual(['Normal', 'KeyRemoved', expect.stringContaining(old)]);
  });
  test('tell of a revocation, and of the key that took over', () => {
    expect(reasons(committed, due + minute, { revokedKeyIDs: [old] })).toEqual([
      ['Warning', 'KeyRevoked', expect.stringContaining(old)],
      ['Warning', 'KeyPromoted', `key ${next} signs from now on; verifiers know it already`],
    ]);
    const all = reasons(committed, due + minute, { revokedKeyIDs: kids(committed) }, noServers);
    expect(all.filter(([, reason]) => reason === 'KeyRevoked')).toHaveLength(committed.keys.length);
    const from = due + minute + 2 * minute + ripening;
    expect(all.at(-1)).toEqual([
      'Warning',
      'KeyPromoted',
      expect.stringContaining(new Date(from).toISOString()),
    ]);
  });
  test('tell of a revoked spare alone, and of no new signer', () => {
    expect(reasons(ripeKeyring(), t0 + day, {}).length).toBe(0);
    const keyring = ripeKeyring();
    expect(
      reasons(keyring, t0 + day, { revokedKeyIDs: [kidAt(keyring, 2)] }).map(([, reason]) => reason),
    ).toEqual(['KeyRevoked']);
  });
  test('tell that an end was put off', () => {
    expect(reasons(ripeKeyring(), due + 4 * day, {}, noServers).map(([, reason]) => reason)).toEqual([
      'SignatureExtended',
    ]);
  });
  test('tell nothing of bookkeeping', () => {
    expect(reasons(keyringOf(), t0 + hour)).toEqual([]);
  });
});

describe('a rotateNow that still waits for its rotation', () => {
  test('is no consent to go on after a loss', () => {
    const keyring = ripeKeyring();
    const policy = policyOf({ rotateNow: 'wanted' });
    const waiting = at(t0 + day, keyring, { rotateNow: 'wanted' }, noServers);
    expect(waiting.rotation.reason).toBe('WaitingForServers');
    const decision = planned({
      policy,
      observed: absent,
      traces: tracesOf(waiting.keyring, { distributed: [], observedRotateNow: 'wanted' }),
      now: t0 + 2 * day,
    });
    expect(decision).toMatchObject({ action: 'hold', reason: 'KeyringLost' });
  });
});

describe('kids of removed keys', () => {
  test('are remembered, the newest 2000 of them, so that the keyring stays small enough for a Secret', () => {
    const removed = Array.from({ length: maxRemovedKeyIDs }, (_, index) => `removed-${index}`);
    const gone = publishedOnly({ removeAt: due });
    const keyring = keyringOf({ keys: [active(), gone, ripe(), ripe()], removedKeyIDs: removed });
    const after = at(due, keyring).keyring.removedKeyIDs;
    expect(after).toHaveLength(maxRemovedKeyIDs);
    expect(after.at(-1)).toBe(gone.kid);
    expect(after[0]).toBe('removed-1');
  });
});
