import { beforeEach, describe, expect, test } from '@jest/globals';
import { activeKey, type Keyring, publicKeys, spareKeys, stateOf } from '../../../operator/plan/keyring.ts';
import { plan } from '../../../operator/plan/planner.ts';
import { spareCount } from '../../../operator/plan/policy.ts';
import type { Traces } from '../../../operator/plan/recovery.ts';
import {
  absent,
  active,
  day,
  firstRevision,
  frozen,
  held,
  hour,
  keyringOf,
  kids,
  minute,
  newKeys,
  noServers,
  noTraces,
  ownAgents,
  planned,
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

const signingKid = (keyring: Keyring, now = t0) => activeKey(keyring, now)?.kid;

describe('a keyring is created only where nothing tells of keys', () => {
  test('the first keyring has one key that signs at once and two spares', () => {
    const { action, keyring, ...rest } = plannedKeyring({
      policy: policyOf({ maxTTLMs: 2 * hour, rotateNow: 'from the start' }),
      observed: absent,
      traces: noTraces,
      now: t0,
    });
    expect({ action, ...rest }).toEqual({
      action: 'write',
      change: 'KeyringCreated',
      before: {
        revision: t0,
        keys: [],
        removedKeyIDs: [],
        revoked: [],
        handledRotateNow: 'from the start',
        namespaces: [],
        deselected: [],
      },
      rotation: { reason: 'NotDue' },
      wakeAt: t0 + minute,
    });
    expect(keyring).toMatchObject({
      revision: firstRevision(t0),
      removedKeyIDs: [],
      handledRotateNow: 'from the start',
    });
    expect(keyring.keys.map((key) => stateOf(keyring, key, t0))).toEqual(['Active', 'Next', 'Next']);
    expect(keyring.keys[0]).toMatchObject({
      createdAt: t0,
      activateAt: t0,
      signUntil: t0 + 37 * day,
      maxTTLMs: 2 * hour,
    });
    expect(keyring.keys[0]).not.toHaveProperty('acceptedFrom');
    expect(
      spareKeys(keyring).map(({ activateAt, signUntil, removeAt }) => [activateAt, signUntil, removeAt]),
    ).toEqual([
      [undefined, undefined, undefined],
      [undefined, undefined, undefined],
    ]);
  });

  test('its revisions are above those of an earlier keyring of which nothing tells any more', () => {
    const begin = (now: number) =>
      plannedKeyring({ policy: policyOf(), observed: absent, traces: noTraces, now }).keyring;
    const written = (keyring: Keyring, now: number) =>
      plannedKeyring({
        policy: policyOf({ maxTTLMs: 2 * hour + (now - t0) }),
        observed: present(keyring),
        traces: tracesOf(keyring),
        now,
      }).keyring;
    const made = begin(t0);
    expect(made.revision).toBe(firstRevision(t0));
    // Each change is a request to the API server, which takes longer.
    const instants = [1, 2, 3, 4].map((milliseconds) => t0 + milliseconds);
    const earlier = instants.reduce(written, made);
    expect(earlier.revision).toBe(made.revision + 4);
    expect(begin(t0 + 5).revision).toBeGreaterThan(earlier.revision);
  });

  const lost = keyringOf();
  const traceKinds: [string, Partial<Traces>][] = [
    ['a revision', { revision: 1 }],
    ['a kid in status', { statusKeyIDs: ['some-kid'] }],
    ['a published key', { published: publicKeys(lost).slice(0, 1) }],
    [
      'a revoked key',
      { revoked: [{ kid: 'some-kid', algorithm: 'ES256', revokedAt: t0, safeAt: t0, safeAtWorst: t0 }] },
    ],
  ];
  test.each(traceKinds)('%s alone prevents a new key without consent', (_, trace) => {
    const decision = planned({
      policy: policyOf({ rotateNow: 'x' }),
      observed: absent,
      traces: { ...noTraces, observedRotateNow: 'x', ...trace },
      now: t0,
    });
    expect(decision).toMatchObject({ action: 'hold', reason: 'KeyringLost' });
  });

  test('a key in the agent Secret alone prevents a new key: that one signs on', () => {
    const [key] = lost.keys;
    if (!key) throw new Error('no key');
    const decision = plannedKeyring({
      policy: policyOf(),
      observed: absent,
      traces: { ...noTraces, distributed: [held(key)] },
      now: t0,
    });
    expect(decision).toMatchObject({ action: 'write', change: 'KeyringRebuilt' });
    expect(signingKid(decision.keyring)).toBe(key.kid);
  });

  test('a lost keyring says that it waits, and publishes nothing else than what is published', () => {
    expect(
      planned({
        policy: policyOf(),
        observed: absent,
        traces: tracesOf(lost, { distributed: [] }),
        now: t0,
      }),
    ).toEqual({
      action: 'hold',
      reason: 'KeyringLost',
      revoked: [],
      problem: 'the keyring Secret is gone, and no agent Secret holds a signing key from which to rebuild it',
      publish: publicKeys(lost),
    });
  });
});

describe('a lost keyring is rebuilt from what agents hold', () => {
  const lost = keyringOf({ revision: 7 });
  const [first] = lost.keys;
  const traces = tracesOf(lost);
  const now = t0 + day;
  let rebuilt: ReturnType<typeof plannedKeyring>;
  beforeEach(() => {
    rebuilt = plannedKeyring({ policy: policyOf(), observed: absent, traces, now });
  });

  test('the same key signs with the same times, and its private part is whole', () => {
    expect(activeKey(rebuilt.keyring, now)).toMatchObject({
      kid: first?.kid,
      algorithm: 'ES256',
      publicKey: first?.publicKey,
      privateKey: first?.privateKey,
      activateAt: t0,
      signUntil: t0 + 37 * day,
    });
  });

  test.each([
    ['every trace, with a clock that is behind', firstRevision(now) + 7, firstRevision(now) + 8],
    ['the millisecond of its making, of which no trace may tell', 7, firstRevision(now)],
  ])('its revision is above %s', (_, revision, expected) => {
    const { keyring } = plannedKeyring({
      policy: policyOf(),
      observed: absent,
      traces: { ...traces, revision },
      now,
    });
    expect(keyring.revision).toBe(expected);
  });

  test('all published keys stay published, and two new spares come', () => {
    expect(kids(rebuilt.keyring)).toEqual(expect.arrayContaining(kids(lost)));
    expect(rebuilt.keyring.keys).toHaveLength(lost.keys.length + spareCount);
    expect(spareKeys(rebuilt.keyring).filter(({ kid }) => kids(lost).includes(kid))).toEqual([]);
  });

  test('a key of which only the public part is left stays until no token of it can be alive', () => {
    const left = rebuilt.keyring.keys.filter((key) => !key.privateKey);
    expect(left.map(({ kid }) => kid)).toEqual(kids(lost).slice(1));
    expect(left.map(({ removeAt }) => removeAt)).toEqual(
      left.map(() => now + 3 * minute + 37 * day + day + 2 * minute),
    );
    expect(left.map((key) => stateOf(rebuilt.keyring, key, now))).toEqual(['Retired', 'Retired']);
  });

  test('a key that agents hold for longer than grace keeps the published ones for as long', () => {
    const late = active({ signUntil: t0 + 300 * day });
    const { keyring } = plannedKeyring({
      policy: policyOf(),
      observed: absent,
      traces: { ...traces, distributed: [held(late)] },
      now,
    });
    expect(keyring.keys.find(({ kid }) => kid === lost.keys[1]?.kid)?.removeAt).toBe(
      t0 + 300 * day + day + 120 * second,
    );
  });

  test('the longest lifetime that agents were told is recorded', () => {
    expect(activeKey(rebuilt.keyring, now)?.maxTTLMs).toBeGreaterThanOrEqual(3 * hour);
  });

  test('a key that had run out signs on with a new end', () => {
    const late = t0 + 50 * day;
    const { keyring } = plannedKeyring({ policy: policyOf(), observed: absent, traces, now: late });
    expect(activeKey(keyring, late)).toMatchObject({ kid: first?.kid, signUntil: late + 7 * day });
  });

  test('it is rebuilt although nothing else tells of it', () => {
    const { keyring } = plannedKeyring({
      policy: policyOf(),
      observed: absent,
      traces: { ...noTraces, distributed: traces.distributed },
      now,
    });
    expect([signingKid(keyring), keyring.revision]).toEqual([first?.kid, firstRevision(now)]);
  });
});

describe('only a new value of rotateNow is consent', () => {
  const lost = keyringOf({ handledRotateNow: 'a' });
  const cases: [string, string, string | undefined, boolean][] = [
    ['no value', '', '', false],
    ['the value that was handled', 'a', 'a', false],
    ['a value that was taken away', '', 'a', false],
    ['a value from before the first status', 'a', undefined, false],
    ['no value before the first status', '', undefined, false],
    ['a first value', 'b', '', true],
    ['another value', 'b', 'a', true],
  ];
  test.each(cases)('%s (spec %j, status %j): new keys %j', (_, rotateNow, observedRotateNow, consent) => {
    const decision = planned({
      policy: policyOf({ rotateNow }),
      observed: absent,
      traces: tracesOf(lost, { distributed: [], observedRotateNow }),
      now: t0,
    });
    expect(decision).toMatchObject(
      consent ? { action: 'write', change: 'KeyringReplaced' } : { action: 'hold', reason: 'KeyringLost' },
    );
  });

  test.each(cases)(
    '%s (spec %j, status %j): an older copy goes on %j',
    (_, rotateNow, observedRotateNow, consent) => {
      const decision = planned({
        policy: policyOf({ rotateNow }),
        observed: present({ ...lost, revision: 3 }),
        traces: tracesOf(lost, { observedRotateNow }),
        now: t0,
      });
      expect(decision).toMatchObject(
        consent ? { action: 'write', change: 'KeyringMerged' } : { action: 'hold', reason: 'KeyringStale' },
      );
    },
  );

  test('with consent a new key signs at once, the old ones stay published, and the value is handled', () => {
    const { keyring } = plannedKeyring({
      policy: policyOf({ rotateNow: 'b' }),
      observed: absent,
      traces: tracesOf(lost, { distributed: [] }),
      now: t0,
    });
    expect(kids(keyring)).toEqual(expect.arrayContaining(kids(lost)));
    expect(kids(lost)).not.toContain(signingKid(keyring));
    expect(keyring).toMatchObject({ revision: firstRevision(t0), handledRotateNow: 'b' });
    expect(spareKeys(keyring)).toHaveLength(spareCount);
  });

  test('a new value replaces nothing while the keyring is whole: it asks for a rotation, which waits', () => {
    const keyring = keyringOf();
    const decision = plannedKeyring({
      policy: policyOf({ rotateNow: 'b' }),
      observed: present(keyring),
      traces: tracesOf(keyring),
      now: t0,
    });
    expect(decision).toMatchObject({ action: 'keep', rotation: { reason: 'WaitingForServers' } });
    expect(decision.keyring).toEqual(keyring);
  });
});

describe('an older copy of the keyring is never followed without consent', () => {
  const newest = keyringOf({ revision: 9 });
  const older = { ...newest, revision: 8 };

  test('a lower revision is told, and the union of all keys is published', () => {
    const unknown = spare();
    const decision = planned({
      policy: policyOf(),
      observed: present(older),
      traces: tracesOf(newest, { published: [...publicKeys(newest), unknown.publicKey] }),
      now: t0,
    });
    expect(decision).toEqual({
      action: 'hold',
      reason: 'KeyringStale',
      revoked: [],
      problem: 'the keyring Secret has revision 8, but revision 9 was in use: it is an older copy',
      publish: [...publicKeys(newest), unknown.publicKey],
    });
  });

  test('the key that agents hold is published although neither the copy nor the JWKS has it', () => {
    const inUse = active();
    const decision = planned({
      policy: policyOf(),
      observed: present(older),
      traces: tracesOf(newest, { published: [], distributed: [held(inUse)] }),
      now: t0,
    });
    expect(decision).toMatchObject({ publish: [...publicKeys(older), inUse.publicKey] });
  });

  test('kids in status that it neither has nor had are told', () => {
    const decision = planned({
      policy: policyOf(),
      observed: present(newest),
      traces: tracesOf(newest, { statusKeyIDs: [...kids(newest), 'gone-1', 'gone-2'] }),
      now: t0,
    });
    expect(decision).toMatchObject({
      action: 'hold',
      reason: 'KeyringStale',
      problem: expect.stringContaining('(gone-1, gone-2)'),
    });
  });

  test('kids in status that it once had are no sign of an older copy', () => {
    const keyring = { ...newest, removedKeyIDs: ['gone-1'] };
    const decision = planned({
      policy: policyOf(),
      observed: present(keyring),
      traces: tracesOf(keyring, { statusKeyIDs: [...kids(keyring), 'gone-1'] }),
      now: t0,
    });
    expect(decision.action).toBe('keep');
  });

  test('traces of an older revision are no sign of an older copy', () => {
    const decision = planned({
      policy: policyOf(),
      observed: present(newest),
      traces: tracesOf(older, { statusKeyIDs: [] }),
      now: t0,
    });
    expect(decision.action).toBe('keep');
  });

  const merge = (copy: Keyring, traces: Traces, now = t0) =>
    plannedKeyring({ policy: policyOf({ rotateNow: 'go' }), observed: present(copy), traces, now });

  test('merged by consent it signs with the newest key, and its revision is above all', () => {
    const inUse = active({ activateAt: t0 + hour, signUntil: t0 + 10 * day });
    const decision = merge(
      older,
      tracesOf(newest, { revision: 12, distributed: [held(inUse)] }),
      t0 + 2 * hour,
    );
    expect(decision).toMatchObject({ action: 'write', change: 'KeyringMerged' });
    expect(signingKid(decision.keyring, t0 + 2 * hour)).toBe(inUse.kid);
    expect(decision.keyring).toMatchObject({ revision: 13, handledRotateNow: 'go' });
    expect(kids(decision.keyring)).toEqual(expect.arrayContaining([...kids(older), inUse.kid]));
  });

  const [first, ...spares] = newest.keys;
  const ends: [string, number, number, number][] = [
    ['agents were told a later one', t0 + 7 * day, t0 + 9 * day, t0 + 9 * day],
    ['the copy has a later one', t0 + 9 * day, t0 + 7 * day, t0 + 9 * day],
  ];
  test.each(ends)('merged, signUntil never moves earlier: %s', (_, ofCopy, ofAgents, expected) => {
    if (!first) throw new Error('no key');
    const copy = { ...older, keys: [{ ...first, signUntil: ofCopy }, ...spares] };
    const traces = tracesOf(newest, { distributed: [held({ ...first, signUntil: ofAgents })] });
    expect(activeKey(merge(copy, traces).keyring, t0)).toMatchObject({ kid: first.kid, signUntil: expected });
  });

  test('merged, the longest lifetime of either is kept', () => {
    if (!first) throw new Error('no key');
    const copy = { ...older, keys: [{ ...first, maxTTLMs: 2 * hour }, ...spares] };
    // Agents may have been told a longer one than the copy knows of, at most the longest there is.
    expect(activeKey(merge(copy, tracesOf(newest)).keyring, t0)?.maxTTLMs).toBe(day);
    const unheld = merge(copy, tracesOf(newest, { distributed: [] }));
    expect(activeKey(unheld.keyring, t0)?.maxTTLMs).toBe(day);
  });

  test('a spare of the copy that signs by now is no spare any more', () => {
    const promoted = newest.keys[1];
    if (!promoted) throw new Error('no key');
    const inUse = { ...promoted, activateAt: t0 + hour, signUntil: t0 + 8 * day };
    const { keyring } = merge(older, tracesOf(newest, { distributed: [held(inUse)] }), t0 + 2 * hour);
    expect(signingKid(keyring, t0 + 2 * hour)).toBe(promoted.kid);
    expect(spareKeys(keyring)).toHaveLength(spareCount);
    expect(spareKeys(keyring).map(({ kid }) => kid)).not.toContain(promoted.kid);
  });

  test('a key that the copy retires, but that agents sign with, signs on', () => {
    const inUse = active({ signUntil: t0 + 9 * day });
    const copy = {
      ...older,
      keys: [active({ activateAt: t0 - day }), publishedOnly({ ...inUse, removeAt: t0 + day })],
    };
    const { keyring } = merge(copy, tracesOf({ ...newest, keys: [inUse] }));
    expect(signingKid(keyring)).toBe(inUse.kid);
    const signing = keyring.keys.find(({ kid }) => kid === inUse.kid);
    expect(signing).toMatchObject({ signUntil: t0 + 9 * day });
    expect(signing).not.toHaveProperty('removeAt');
  });

  test('a key that the copy retires, but that is published, is withdrawn no earlier than a lost one', () => {
    const key = publishedOnly({ removeAt: t0 - hour });
    const { keyring } = merge(
      { ...older, keys: [...older.keys, key] },
      tracesOf(newest, { published: [key.publicKey] }),
    );
    expect(keyring.keys.find(({ kid }) => kid === key.kid)?.removeAt).toBeGreaterThan(t0 + 7 * day);
  });

  test('a rebuilt key is taken to have signed with the longest lifetime there is', () => {
    const { keyring } = plannedKeyring({
      policy: policyOf(),
      observed: absent,
      traces: tracesOf(newest),
      now: t0,
    });
    expect(activeKey(keyring, t0)?.maxTTLMs).toBe(day);
  });

  test('kids that were removed stay removed from the list of the known', () => {
    const { keyring } = merge({ ...older, removedKeyIDs: ['gone-1'] }, tracesOf(newest));
    expect(keyring.removedKeyIDs).toEqual(['gone-1']);
  });
});

test('a keyring that cannot be read holds everything, whatever else is there, and consent does not change that', () => {
  for (const traces of [noTraces, tracesOf(keyringOf(), { observedRotateNow: '' })]) {
    expect(
      planned({
        policy: policyOf({ rotateNow: 'go' }),
        observed: { state: 'unreadable', problem: 'it is damaged' },
        traces,
        now: t0,
      }),
    ).toEqual({
      action: 'hold',
      reason: 'KeyringUnreadable',
      revoked: [],
      problem: 'it is damaged',
      ...(traces.published.length > 0 && { publish: traces.published }),
    });
  }
});

describe('a keyring gets what it lacks and nothing else', () => {
  const settle = (keyring: Keyring, now = t0, policy = policyOf()) =>
    plannedKeyring({ policy, observed: present(keyring), traces: tracesOf(keyring), now });

  test('a whole keyring is kept as it is', () => {
    const keyring = keyringOf();
    const rotation = { reason: 'NotDue' };
    expect(settle(keyring)).toEqual({ action: 'keep', keyring, rotation, wakeAt: t0 + minute });
  });

  test.each([0, 1, 2, 3])('with %i spares it ends up with at least two, and loses none', (count) => {
    const keyring = keyringOf({ keys: [active(), ...Array.from({ length: count }, () => spare())] });
    const after = settle(keyring).keyring;
    expect(spareKeys(after)).toHaveLength(Math.max(spareCount, count));
    expect(kids(after)).toEqual(expect.arrayContaining(kids(keyring)));
    expect(after.revision).toBe(count < spareCount ? keyring.revision + 1 : keyring.revision);
  });

  test('it asks for just the keys that are missing', () => {
    const input = {
      policy: policyOf(),
      traces: noTraces,
      servers: noServers,
      agents: ownAgents,
      now: t0,
      newKeys: [],
    };
    const keyring = keyringOf({ keys: [active(), spare()] });
    expect(plan({ ...input, observed: present(keyring) })).toMatchObject({ count: 1 });
    expect(plan({ ...input, observed: absent })).toEqual({
      action: 'needKeys',
      algorithm: 'ES256',
      count: 1 + spareCount,
    });
  });

  test('it uses no more keys than are missing', () => {
    const keyring = keyringOf({ keys: [active(), spare()] });
    const input = {
      policy: policyOf(),
      observed: present(keyring),
      traces: tracesOf(keyring),
      servers: noServers,
      agents: ownAgents,
      now: t0,
    };
    expect(plan({ ...input, newKeys: [] })).toMatchObject({ action: 'needKeys', algorithm: 'ES256' });
    const decision = plan({ ...input, newKeys: newKeys(4) });
    expect(decision).toMatchObject({ action: 'write', change: 'KeyringUpdated' });
    expect(decision.action === 'write' && decision.keyring.keys).toHaveLength(3);
  });

  test('a keyring without a signing key starts with its oldest spare', () => {
    const keyring = keyringOf({ keys: [spare(), spare()] });
    const after = settle(keyring).keyring;
    expect(signingKid(after)).toBe(keyring.keys[0]?.kid);
    expect(spareKeys(after)).toHaveLength(spareCount);
  });

  test('an adopted keyring of another algorithm goes on as it is, and spares of the new one ripen', () => {
    const keyring = keyringOf({ keys: [active({ algorithm: 'RS256' })] });
    const policy = policyOf({ algorithm: 'ES256' });
    const seen = { traces: noTraces, servers: noServers, agents: ownAgents };
    const input = { policy, observed: present(keyring), ...seen, now: t0 };
    expect(plan({ ...input, newKeys: [] })).toMatchObject({ action: 'needKeys', algorithm: 'ES256' });
    const after = plannedKeyring(input).keyring;
    expect(signingKid(after)).toBe(keyring.keys[0]?.kid);
    expect(after.keys.map(({ algorithm }) => algorithm)).toEqual(['RS256', 'ES256', 'ES256']);
  });

  const ttls: [string, number, number, number][] = [
    ['a longer ttl.max is recorded', hour, 2 * hour, 2 * hour],
    ['a shorter ttl.max shortens nothing', 2 * hour, hour, 2 * hour],
    ['the same ttl.max changes nothing', hour, hour, hour],
  ];
  test.each(ttls)('%s', (_, recorded, maxTTLMs, expected) => {
    const keyring = keyringOf({ keys: [active({ maxTTLMs: recorded }), spare(), spare()] });
    const decision = settle(keyring, t0, policyOf({ maxTTLMs }));
    expect(activeKey(decision.keyring, t0)?.maxTTLMs).toBe(expected);
    expect(decision.action).toBe(recorded === expected ? 'keep' : 'write');
  });

  const extensions: [string, number, number, number][] = [
    ['all of grace is left', 7 * day, 7 * day, 7 * day],
    ['half of grace is left', 3.5 * day + 1, 7 * day, 3.5 * day + 1],
    ['less than half of grace is left', 3.5 * day - 1, 7 * day, 7 * day],
    ['it has run out', -day, 7 * day, 7 * day],
    ['grace was made shorter', 7 * day, day, 7 * day],
    ['grace was made longer', 7 * day, 30 * day, 30 * day],
  ];
  test.each(extensions)(
    'signUntil moves only later, and only when it must: %s',
    (_, left, graceMs, expected) => {
      const now = t0 + 2 * day;
      const keyring = keyringOf({ keys: [active({ signUntil: now + left }), spare(), spare()] });
      const decision = settle(keyring, now, policyOf({ graceMs }));
      expect((activeKey(decision.keyring, now)?.signUntil ?? 0) - now).toBe(expected);
      expect(decision.action).toBe(left === expected ? 'keep' : 'write');
    },
  );

  test('a removed key leaves at its time, not before, and its kid is remembered', () => {
    const left = publishedOnly({ removeAt: t0 + hour });
    const keyring = keyringOf({ keys: [active(), left, spare(), spare()] });
    const before = settle(keyring, t0 + hour - 1);
    expect(before).toMatchObject({ action: 'keep', wakeAt: t0 + hour });
    // Without an answer from a server nobody could tell that the clock is wrong.
    expect(settle(keyring, t0 + hour).action).toBe('keep');
    const served = {
      policy: policyOf(),
      observed: present(keyring),
      traces: tracesOf(keyring),
      now: t0 + hour,
    };
    const after = plannedKeyring({ ...served, servers: serving(keyring) });
    expect(after).toMatchObject({ action: 'write', change: 'KeyringUpdated' });
    expect(kids(after.keyring)).toEqual(kids(keyring).filter((kid) => kid !== left.kid));
    expect(after.keyring.removedKeyIDs).toEqual([left.kid]);
  });

  test('it wakes when half of grace is left', () => {
    const keyring = keyringOf({ keys: [active({ signUntil: t0 + 9 * day }), spare(), spare()] });
    expect(settle(keyring, t0 + 3 * day).wakeAt).toBe(t0 + 9 * day - 3.5 * day);
  });

  test('when it is woken, a moment later there is something to do', () => {
    const keyring = keyringOf({ keys: [active({ signUntil: t0 + 9 * day }), spare(), spare()] });
    const { wakeAt } = settle(keyring, t0 + 3 * day);
    expect(settle(keyring, wakeAt - minute).action).toBe('keep');
    expect(settle(keyring, wakeAt + 1).action).toBe('write');
  });

  test('at the instant for which it wakes there is something to do', () => {
    const keyring = keyringOf({ keys: [active({ signUntil: t0 + 9 * day }), spare(), spare()] });
    const { wakeAt } = settle(keyring, t0 + 3 * day);
    expect(settle(keyring, wakeAt)).toMatchObject({ action: 'write', wakeAt: expect.any(Number) });
  });

  test('its input stays as it was', () => {
    const keyring = frozen(keyringOf({ keys: [active(), publishedOnly({ removeAt: t0 })] }));
    expect(settle(keyring).action).toBe('write');
  });
});

describe('the signing key at an instant', () => {
  const early = active({ activateAt: t0 });
  const late = active({ activateAt: t0 + hour });
  const keyring = keyringOf({ keys: [late, early, spare(), publishedOnly({ activateAt: t0 + day })] });
  test.each([
    ['the newest whose time has come', t0 + hour, late],
    ['the one before, while the time of the newest has not come', t0 + hour - 1, early],
    ['the earliest, when the time of none has come', t0 - 1, early],
  ])('is %s', (_, now, expected) => {
    expect(signingKid(keyring, now)).toBe(expected.kid);
  });

  test('is never a spare, and never one without a private part', () => {
    expect(activeKey(keyringOf({ keys: [spare(), publishedOnly({ activateAt: t0 })] }), t0)).toBeUndefined();
  });

  test('makes all others Next or Retired', () => {
    expect(keyring.keys.map((key) => stateOf(keyring, key, t0 + minute))).toEqual([
      'Next',
      'Active',
      'Next',
      'Retired',
    ]);
    expect(keyring.keys.map((key) => stateOf(keyring, key, t0 + 2 * hour))).toEqual([
      'Active',
      'Retired',
      'Next',
      'Retired',
    ]);
  });
});
