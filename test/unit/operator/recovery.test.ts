import { describe, expect, test } from '@jest/globals';
import { activeKey, type Keyring, type KeyringKey, publicKeys } from '../../../operator/plan/keyring.ts';
import { maxPublishedKeys } from '../../../operator/plan/policy.ts';
import type { Traces } from '../../../operator/plan/recovery.ts';
import {
  absent,
  active,
  day,
  held,
  hour,
  keyringOf,
  kids,
  minute,
  noTraces,
  planned,
  plannedKeyring,
  policyOf,
  present,
  publishedOnly,
  spare,
  t0,
  tracesOf,
} from './builders.ts';

const now = t0 + day;
const find = (keyring: Keyring, kid: string | undefined) =>
  keyring.keys.find((key) => key.kid === kid) as KeyringKey;
/** The longest that a token can live on after the last signature, with the policy of these tests. */
const rest = day + minute + minute;
/** The last signature of a key that takes over today: it reaches all sidecars, signs for interval and grace. */
const lastSignature = now + 2 * minute + minute + 37 * day;

describe('what nothing holds any more', () => {
  const lost = keyringOf({
    revoked: [{ kid: 'leaked', algorithm: 'ES256', revokedAt: t0, safeAt: t0, safeAtWorst: t0 }],
  });

  test('is known to have been: the rebuilt keyring is not taken for an older copy at the next look', () => {
    const traces = tracesOf(lost, { statusKeyIDs: [...kids(lost), 'told'], published: [] });
    const { keyring } = plannedKeyring({ policy: policyOf(), observed: absent, traces, now });
    expect(keyring.removedKeyIDs).toEqual([...kids(lost).slice(1), 'told', 'leaked']);
    expect(plannedKeyring({ policy: policyOf(), observed: present(keyring), traces, now })).toMatchObject({
      action: 'keep',
    });
  });

  test('is known to have been when an older copy is merged, each name once', () => {
    const copy = { ...lost, revision: 3, removedKeyIDs: ['told', 'once'], revoked: [] };
    const traces = tracesOf(lost, { statusKeyIDs: [...kids(lost), 'told', 'later'] });
    const { keyring } = plannedKeyring({
      policy: policyOf({ rotateNow: 'go' }),
      observed: present(copy),
      traces,
      now,
    });
    expect(keyring.removedKeyIDs).toEqual(['told', 'once', 'later', 'leaked']);
    expect(keyring.revoked).toEqual(lost.revoked);
  });

  test('of revoked keys status alone tells, and they stay revoked', () => {
    const decision = planned({
      policy: policyOf(),
      observed: absent,
      traces: { ...noTraces, revoked: lost.revoked },
      now,
    });
    expect(decision).toMatchObject({ action: 'hold', reason: 'KeyringLost', revoked: lost.revoked });
  });
});

describe('a keyring that lacks a key that is revoked by status', () => {
  test('is an older copy, unless it knows of the key', () => {
    const revoked = [
      { kid: 'leaked', algorithm: 'ES256', revokedAt: t0, safeAt: t0, safeAtWorst: t0 } as const,
    ];
    const look = (keyring: Keyring) =>
      planned({
        policy: policyOf(),
        observed: present(keyring),
        traces: tracesOf(keyring, { revoked }),
        now: t0,
      });
    expect(look(keyringOf())).toMatchObject({
      reason: 'KeyringStale',
      problem:
        'the keyring Secret lacks keys that were in use (leaked): it is another keyring or an older copy',
    });
    expect(look(keyringOf({ revoked }))).toMatchObject({ action: 'keep' });
  });
});

describe('a keyring that is rebuilt', () => {
  const lost = keyringOf({ handledRotateNow: 'done' });
  const rebuild = (traces: Partial<Traces>, policy = {}) =>
    plannedKeyring({
      policy: policyOf(policy),
      observed: absent,
      traces: tracesOf(lost, traces),
      now,
    }).keyring;

  test('has done the rotations that status says were done, and no others', () => {
    expect(rebuild({}, { rotateNow: 'done' }).handledRotateNow).toBe('done');
    expect(rebuild({}, { rotateNow: 'wanted' }).handledRotateNow).toBe('done');
    expect(rebuild({ handledRotateNow: undefined }, { rotateNow: 'from the start' }).handledRotateNow).toBe(
      'from the start',
    );
  });

  test('remembers that it began with an imported key while the migration lasts, and not else', () => {
    expect(rebuild({}, { importMaxTTLMs: hour }).importedKeyID).toBe(kids(lost)[0]);
    expect(rebuild({})).not.toHaveProperty('importedKeyID');
    expect(
      rebuild({ distributed: [], observedRotateNow: '' }, { importMaxTTLMs: hour, rotateNow: 'go' }),
    ).not.toHaveProperty('importedKeyID');
  });

  test('keeps what was published for as long as status says that a key may sign', () => {
    const told = lastSignature + day;
    expect(find(rebuild({ statusSignUntil: told }), kids(lost)[1]).removeAt).toBe(told + rest);
    expect(find(rebuild({ statusSignUntil: t0 }), kids(lost)[1])).toMatchObject({
      createdAt: now,
      algorithm: 'ES256',
      removeAt: lastSignature + rest,
    });
  });

  test('says from when the key is accepted that signs on: nobody knows how long it was served', () => {
    const signing = activeKey(rebuild({}), now);
    expect(signing?.acceptedFrom).toBe(now + 2 * minute + 5 * minute + 30_000 + minute);
    expect(signing?.createdAt).toBe(t0);
  });

  test('goes on with the other key that agents hold where one was revoked: that one verifiers know', () => {
    const leaked = active({ activateAt: t0 + hour });
    const decision = plannedKeyring({
      policy: policyOf(),
      observed: absent,
      traces: tracesOf(keyringOf({ keys: [active({ kid: 'before' }), leaked] }), {
        revoked: [{ kid: leaked.kid, algorithm: 'ES256', revokedAt: now, safeAt: now, safeAtWorst: now }],
      }),
      now,
    });
    expect(activeKey(decision.keyring, now)?.kid).toBe('before');
    expect(kids(decision.keyring)).not.toContain(leaked.kid);
  });

  test('says of a new key too from when it is accepted, whatever is left of the old ones', () => {
    const consented = { distributed: [], observedRotateNow: '' };
    const replaced = rebuild(consented, { rotateNow: 'go' });
    expect(activeKey(replaced, now)?.acceptedFrom).toBe(now + 2 * minute + 5 * minute + 30_000 + minute);
    const unpublished = rebuild({ ...consented, published: [] }, { rotateNow: 'go' });
    expect(activeKey(unpublished, now)?.acceptedFrom).toBeGreaterThan(now);
    const untold = rebuild({ ...consented, statusKeyIDs: [] }, { rotateNow: 'go' });
    expect(activeKey(untold, now)?.acceptedFrom).toBeGreaterThan(now);
  });
});

describe('an older copy that is merged', () => {
  const newest = keyringOf({ revision: 9 });
  const [signing, next, last] = newest.keys as [KeyringKey, KeyringKey, KeyringKey];
  const merge = (copy: Partial<Keyring>, traces: Partial<Traces> = {}) =>
    plannedKeyring({
      policy: policyOf({ rotateNow: 'go' }),
      observed: present({ ...newest, revision: 8, ...copy }),
      traces: tracesOf(newest, traces),
      now,
    });

  test('keeps when its key was made, and has the times that agents were told', () => {
    const copy = { ...signing, createdAt: t0 - day, activateAt: t0 - hour, servedSince: t0 };
    const { keyring } = merge({ keys: [copy, next, last] });
    expect(activeKey(keyring, now)).toMatchObject({
      kid: signing.kid,
      createdAt: t0 - day,
      activateAt: t0,
      signUntil: signing.signUntil,
      maxTTLMs: day,
    });
  });

  test('has no spares of the copy: they may have signed since, and only their public part is left', () => {
    const { keyring } = merge({});
    for (const { kid } of [next, last]) {
      expect(find(keyring, kid)).not.toHaveProperty('privateKey');
      expect(find(keyring, kid)).toMatchObject({ createdAt: t0, removeAt: lastSignature + rest });
    }
  });

  test.each([
    ['the copy says', lastSignature + rest + day, lastSignature + rest + day],
    ['may be in use', t0 + 2 * day, lastSignature + rest],
  ])('withdraws a retired key no earlier than %s', (_, removeAt, expected) => {
    const retired = publishedOnly({ removeAt });
    const { keyring } = merge({ keys: [...newest.keys, retired] });
    expect(find(keyring, retired.kid).removeAt).toBe(expected);
  });

  test.each([
    ['the copy says', t0, t0 + 37 * day],
    ['status says', t0 + 50 * day, t0 + 50 * day],
  ])('lets a key that agents do not hold sign for as long as %s', (_, statusSignUntil, expected) => {
    const { keyring } = merge({}, { distributed: [], statusSignUntil });
    expect(activeKey(keyring, now)).toMatchObject({ kid: signing.kid, signUntil: expected });
  });

  test('is a new revision above both, also where it gets nothing more', () => {
    const others = Array.from({ length: maxPublishedKeys - 1 }, () => publishedOnly());
    const keys = [active(), ...others];
    const copy = keyringOf({ keys, revision: 8 });
    const decision = plannedKeyring({
      policy: policyOf({ rotateNow: 'go' }),
      observed: present(copy),
      traces: tracesOf({ ...copy, revision: 9 }, { observedRotateNow: '' }),
      now,
    });
    expect(decision).toMatchObject({ action: 'write', change: 'KeyringMerged', keyring: { revision: 10 } });
    expect(kids(decision.keyring)).toEqual(kids(copy));
    const newer = plannedKeyring({
      policy: policyOf({ rotateNow: 'go' }),
      observed: present({ ...copy, revision: 12 }),
      traces: tracesOf(copy, { statusKeyIDs: ['other'] }),
      now,
    });
    expect(newer).toMatchObject({ change: 'KeyringMerged', keyring: { revision: 13 } });
  });

  test('has no key that either it or status says was revoked', () => {
    const revocation = (kid: string) =>
      ({ kid, algorithm: 'ES256', revokedAt: t0, safeAt: t0, safeAtWorst: t0 }) as const;
    const other = spare();
    const { keyring } = merge(
      { keys: [signing, next], revoked: [revocation(last.kid)] },
      { revoked: [revocation(next.kid)], published: [...publicKeys(newest), other.publicKey] },
    );
    expect(keyring.revoked.map(({ kid }) => kid)).toEqual([last.kid, next.kid]);
    expect(kids(keyring)).toEqual(expect.arrayContaining([signing.kid, other.kid]));
    for (const { kid } of [next, last]) expect(kids(keyring)).not.toContain(kid);
  });

  test('publishes while it waits what the copy, the JWKS and the agents have', () => {
    const inUse = active();
    const decision = planned({
      policy: policyOf(),
      observed: present({ ...newest, revision: 8 }),
      traces: tracesOf(newest, { distributed: [held(inUse)], published: [last.publicKey] }),
      now,
    });
    expect(decision).toMatchObject({ publish: [...publicKeys(newest), inUse.publicKey] });
  });
});
