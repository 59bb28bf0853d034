import { describe, expect, test } from '@jest/globals';
import {
  activeKey,
  type Keyring,
  type KeyringKey,
  publicKeys,
  type RevokedKey,
} from '../../../operator/plan/keyring.ts';
import {
  type KeyPolicy,
  maxRemovedKeyIDs,
  maxRevoked,
  postponementMs,
} from '../../../operator/plan/policy.ts';
import type { Traces } from '../../../operator/plan/recovery.ts';
import type { ServerObservation } from '../../../operator/plan/servers.ts';
import {
  absent,
  active,
  day,
  held,
  hour,
  keyringOf,
  kids,
  minute,
  noServers,
  noTraces,
  planned,
  plannedKeyring,
  policyOf,
  present,
  ripening,
  second,
  serving,
  spare,
  t0,
  tracesOf,
} from './builders.ts';

/** How long a healthy verifier keeps what it fetched, with the policy of these tests. */
const cacheTime = 5 * minute + 30 * second;
const at = (
  now: number,
  keyring: Keyring,
  policy: Partial<KeyPolicy> = {},
  servers: ServerObservation = noServers,
) =>
  plannedKeyring({
    policy: policyOf(policy),
    observed: present(keyring),
    traces: tracesOf(keyring),
    servers,
    now,
  });

describe('while there is no keyring to keep it, a revocation', () => {
  const lost = keyringOf();
  const [leaked, next, last] = kids(lost) as [string, string, string];
  const hold = (policy: Partial<KeyPolicy>, traces: Partial<Traces> = {}) =>
    planned({
      policy: policyOf(policy),
      observed: { state: 'unreadable', problem: 'it is damaged' },
      traces: tracesOf(lost, traces),
      now: t0,
    });
  const record = (kid: string): RevokedKey => ({
    kid,
    algorithm: 'ES256',
    revokedAt: t0,
    safeAt: t0 + 2 * minute + cacheTime,
    safeAtWorst: t0 + 2 * minute + cacheTime + hour,
  });

  test('takes the key out of what is published, and is told for status to keep', () => {
    expect(hold({ revokedKeyIDs: [leaked] })).toEqual({
      action: 'hold',
      reason: 'KeyringUnreadable',
      problem: 'it is damaged',
      revoked: [record(leaked)],
      publish: publicKeys(lost).slice(1),
    });
  });

  test('stays although its kid leaves the list, with the times that it had', () => {
    const before = { ...record(leaked), revokedAt: t0 - day };
    const decision = hold({}, { revoked: [before], statusKeyIDs: [next, last] });
    expect(decision).toMatchObject({ revoked: [before], publish: publicKeys(lost).slice(1) });
    expect(hold({ revokedKeyIDs: [leaked] }, { revoked: [before] })).toMatchObject({ revoked: [before] });
  });

  test('of a key that only status names is told too, and one of a key that nothing names is not', () => {
    const decision = hold({ revokedKeyIDs: ['told', 'never'] }, { statusKeyIDs: ['told'] });
    expect(decision).toMatchObject({ revoked: [record('told')] });
  });

  test('of all leaves them published until there are others, and says so', () => {
    expect(hold({ revokedKeyIDs: kids(lost) })).toEqual({
      action: 'hold',
      reason: 'KeyringUnreadable',
      problem: 'it is damaged; all published keys are revoked, and stay published until others are there',
      revoked: kids(lost).map(record),
    });
  });

  test('says nothing of what is published where nothing is', () => {
    const decision = hold({ revokedKeyIDs: kids(lost) }, { published: [] });
    expect(decision).toMatchObject({ problem: 'it is damaged' });
    expect(decision).not.toHaveProperty('publish');
  });

  test('holds for an older copy that comes, and those of the copy hold too', () => {
    const gone = record('gone');
    const copy = { ...lost, revision: 3, revoked: [gone] };
    const decision = planned({
      policy: policyOf({ revokedKeyIDs: [next] }),
      observed: present(copy),
      traces: tracesOf(lost, { revoked: [record(leaked)], statusKeyIDs: [last] }),
      now: t0,
    });
    expect(decision).toMatchObject({ reason: 'KeyringStale', publish: publicKeys(lost).slice(2) });
    expect(decision.action === 'hold' && decision.revoked.map(({ kid }) => kid)).toEqual([
      'gone',
      leaked,
      next,
    ]);
  });

  test('is called safe no earlier than servers stop to serve the key', () => {
    const before = { ...record(leaked), revokedAt: t0 - hour, safeAt: t0, safeAtWorst: t0 + hour };
    const decision = planned({
      policy: policyOf(),
      observed: absent,
      traces: tracesOf(lost, { revoked: [before], distributed: [] }),
      servers: serving(lost),
      now: t0,
    });
    const safeAt = t0 + cacheTime + hour / 10;
    expect(decision).toMatchObject({
      reason: 'KeyringLost',
      revoked: [{ ...before, safeAt, safeAtWorst: safeAt + hour }],
    });
  });

  test('is carried out once the keyring is back', () => {
    const before = { ...record(leaked), revokedAt: t0 - day };
    const decision = plannedKeyring({
      policy: policyOf(),
      observed: present(lost),
      traces: tracesOf(lost, { revoked: [before] }),
      now: t0,
    });
    expect(decision).toMatchObject({
      action: 'write',
      keyring: { revision: lost.revision + 1, revoked: [before] },
    });
    expect(kids(decision.keyring)).not.toContain(leaked);
    expect(activeKey(decision.keyring, t0)?.kid).toBe(next);
    const again = { policy: policyOf(), observed: present(decision.keyring), now: t0 };
    expect(planned({ ...again, traces: tracesOf(lost, { revoked: [before] }) })).toMatchObject({
      action: 'keep',
    });
  });
});

describe('a revoked key that a server still serves', () => {
  const revokedAt = t0;
  const gone: RevokedKey = {
    kid: 'gone',
    algorithm: 'ES256',
    revokedAt,
    safeAt: t0 + 2 * minute + cacheTime,
    safeAtWorst: t0 + 2 * minute + cacheTime + hour,
  };
  const keyring = keyringOf({ revoked: [gone], removedKeyIDs: ['gone'] });
  const served = serving(keyring, { answers: [kids(keyring), [...kids(keyring), 'gone']] });
  const look = (now: number, servers = served) => at(now, keyring, {}, servers).keyring;

  test('is called safe no earlier than a verifier that fetches it now refuses it', () => {
    const now = t0 + 2 * minute + 1;
    expect(look(now).revoked).toEqual([
      { ...gone, safeAt: now + cacheTime + 30 * second, safeAtWorst: now + cacheTime + 30 * second + hour },
    ]);
  });

  test('is put off the further, the longer it lasts, so that not each look is a write', () => {
    const now = t0 + day;
    expect(look(now).revoked[0]?.safeAt).toBe(now + cacheTime + day / 10);
    expect([0, 300 * second, 301 * second].map(postponementMs)).toEqual([30_000, 30_000, 30_100]);
  });

  test('is not put off while what was told is late enough, nor once no server serves it', () => {
    expect(look(t0 + 2 * minute - 1).revoked).toEqual([gone]);
    expect(look(t0 + day, serving(keyring)).revoked).toEqual([gone]);
    expect(look(t0 + day, noServers).revoked).toEqual([gone]);
  });

  const silent = serving(keyring, { silent: 1 });
  test('is put off in time while a server gives no answer, and the operator wakes for that', () => {
    const before = at(t0 + 2 * minute - 1, keyring, {}, silent);
    expect(before.keyring.revoked).toEqual([gone]);
    expect(before.wakeAt).toBe(t0 + 2 * minute);
    expect(look(t0 + 2 * minute, silent).revoked[0]?.safeAt).toBe(gone.safeAt + 30 * second);
  });

  test('is not put off by a silence after it was safe', () => {
    expect(look(gone.safeAt, silent).revoked).toEqual([gone]);
  });

  test('is put off alone, and its worst time never moves earlier', () => {
    const other = { ...gone, kid: 'other' };
    const late = { ...gone, safeAtWorst: t0 + 2 * day };
    const two = { ...keyring, revoked: [other, late], removedKeyIDs: ['gone', 'other'] };
    const [first, then] = at(t0 + day, two, {}, served).keyring.revoked as [RevokedKey, RevokedKey];
    expect(first).toEqual(other);
    expect(then).toMatchObject({ kid: 'gone', safeAtWorst: t0 + 2 * day });
    expect(then.safeAt).toBeGreaterThan(t0 + day);
  });

  test('is no new revision: nothing derives from it', () => {
    const decision = at(t0 + day, keyring, {}, served);
    expect(decision).toMatchObject({ action: 'write', keyring: { revision: keyring.revision } });
  });
});

describe('revocations that are long over', () => {
  const count = maxRevoked + 3;
  const record = (index: number, safeAtWorst = t0): RevokedKey => ({
    kid: `revoked-${index}`,
    algorithm: 'ES256',
    revokedAt: t0 - (count - index) * day,
    safeAt: safeAtWorst - hour,
    safeAtWorst,
  });
  const revoked = Array.from({ length: count }, (_, index) => record(index));
  const kidsOf = (keys: readonly RevokedKey[]) => keys.map(({ kid }) => kid);

  test('are forgotten, the oldest first, where there are many; what was forgotten is known still', () => {
    const { keyring } = at(t0, keyringOf({ revoked }));
    expect(kidsOf(keyring.revoked)).toEqual(kidsOf(revoked.slice(3)));
    expect(keyring.removedKeyIDs).toEqual(['revoked-0', 'revoked-1', 'revoked-2']);
    // Status names them until it is written.
    const told = tracesOf(keyring, { revoked });
    const again = planned({ policy: policyOf(), observed: present(keyring), traces: told, now: t0 });
    expect(again.action).toBe('keep');
  });

  test('are known only so long, too', () => {
    const removedKeyIDs = Array.from({ length: maxRemovedKeyIDs }, (_, index) => `removed-${index}`);
    const known = at(t0, keyringOf({ revoked, removedKeyIDs })).keyring.removedKeyIDs;
    expect(known).toEqual([...removedKeyIDs.slice(3), 'revoked-0', 'revoked-1', 'revoked-2']);
  });

  test('are all remembered up to so many', () => {
    expect(at(t0, keyringOf({ revoked: revoked.slice(3) })).action).toBe('keep');
  });

  test('stay where the spec names them, or a verifier may not know of them', () => {
    const late = record(1, t0 + 1);
    const keyring = keyringOf({ revoked: revoked.map((one) => (one.kid === late.kid ? late : one)) });
    const after = at(t0, keyring, { revokedKeyIDs: ['revoked-0'] }).keyring.revoked;
    expect(kidsOf(after)).toEqual(['revoked-0', 'revoked-1', ...kidsOf(revoked.slice(5))]);
  });
});

describe('from when a key is accepted that had to sign too early', () => {
  const told = t0 + 2 * minute + ripening;
  const early = active({ acceptedFrom: told });
  const keyring = keyringOf({ keys: [early, spare(), spare()] });
  const signer = (decision: { keyring: Keyring }) =>
    decision.keyring.keys.find(({ kid }) => kid === early.kid) as KeyringKey;
  const withSigner = (key: Partial<KeyringKey>) => ({
    ...keyring,
    keys: [{ ...early, ...key }, ...keyring.keys.slice(1)],
  });

  test('is said exactly as soon as all servers serve it', () => {
    const now = t0 + second;
    const decision = at(now, keyring, {}, serving(keyring));
    expect(signer(decision)).toMatchObject({ servedSince: now, acceptedFrom: now + ripening });
    expect(decision.keyring.revision).toBe(keyring.revision);
  });

  test('stays as it was said while none is asked, or one is silent', () => {
    for (const servers of [noServers, serving(keyring, { silent: 1 })])
      expect(signer(at(t0 + second, keyring, {}, servers))).toEqual(early);
  });

  test('moves later when verifiers keep the old keys for longer than was said', () => {
    const served = withSigner({ servedSince: t0, acceptedFrom: t0 + ripening });
    const { acceptedFrom } = signer(at(t0 + minute, served, { verifierCacheTTLMs: hour }, serving(served)));
    expect(acceptedFrom).toBe(t0 + hour + 30 * second + minute);
  });

  test('begins again when a server lacks it', () => {
    const served = withSigner({ servedSince: t0, acceptedFrom: t0 + ripening });
    const now = t0 + ripening - second;
    const lacking = { ...noServers, answers: [kids(served).slice(1)] };
    const after = signer(at(now, served, {}, lacking));
    expect(after).not.toHaveProperty('servedSince');
    expect(after.acceptedFrom).toBe(now + ripening + postponementMs(now - t0));
  });

  test('is put off in time while no server serves it, and the operator wakes for that', () => {
    const lacking = { ...noServers, answers: [kids(keyring).slice(1)] };
    const before = at(told - ripening - 1, keyring, {}, lacking);
    expect(signer(before).acceptedFrom).toBe(told);
    expect(before.wakeAt).toBe(told - ripening);
    const after = signer(at(told - ripening, keyring, {}, lacking));
    expect(after.acceptedFrom).toBe(told + 30 * second);
  });

  test('is put off although it has passed, where no server was ever seen to serve it', () => {
    const now = told + hour;
    const lacking = { ...noServers, answers: [kids(keyring).slice(1)] };
    expect(signer(at(now, keyring, {}, lacking)).acceptedFrom).toBe(
      now + ripening + postponementMs(now - t0),
    );
  });

  test('is history once it has passed, whatever servers and verifiers do then', () => {
    const accepted = withSigner({ servedSince: t0, acceptedFrom: t0 + ripening });
    const lacking = { ...noServers, answers: [kids(accepted).slice(1)] };
    const decision = at(t0 + ripening, accepted, { verifierCacheTTLMs: hour }, lacking);
    expect(signer(decision)).toMatchObject({ servedSince: t0, acceptedFrom: t0 + ripening });
  });

  test('is not said of a key that took over in time', () => {
    const plain = keyringOf({ keys: [active({ servedSince: t0 }), spare(), spare()] });
    const decision = at(t0 + minute, plain, {}, { ...noServers, answers: [[]] });
    expect(decision.keyring.keys[0]).toEqual(plain.keys[0]);
  });

  test.each<[string, Partial<Parameters<typeof planned>[0]>]>([
    ['is rebuilt', { observed: absent, traces: { ...noTraces, distributed: [held(early)] } }],
    [
      'is merged with what agents hold',
      { observed: present({ ...keyring, revision: 2 }), policy: policyOf({ rotateNow: 'go' }) },
    ],
    [
      'is merged, and agents hold nothing',
      {
        observed: present({ ...keyring, revision: 2 }),
        traces: tracesOf(keyring, { distributed: [] }),
        policy: policyOf({ rotateNow: 'go' }),
      },
    ],
  ])('is said anew when the keyring %s, since who knew is lost', (_, question) => {
    const base = { policy: policyOf(), traces: tracesOf(keyring), observed: absent, now: t0 + hour };
    const decision = plannedKeyring({ ...base, ...question });
    expect(signer(decision)).toMatchObject({ acceptedFrom: t0 + hour + 2 * minute + ripening });
    expect(signer(decision)).not.toHaveProperty('servedSince');
  });
});
