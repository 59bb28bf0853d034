import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { type ImportedKey, readImportedKey } from '../../../operator/plan/import.ts';
import { activeKey, committedKey, type Keyring, spareKeys } from '../../../operator/plan/keyring.ts';
import type { KeyPolicy } from '../../../operator/plan/policy.ts';
import {
  absent,
  active,
  day,
  firstRevision,
  hour,
  keyringOf,
  noTraces,
  planned,
  plannedKeyring,
  policyOf,
  present,
  privateValues,
  publishedOnly,
  serving,
  spare,
  t0,
  tracesOf,
} from './builders.ts';

const ec = (namedCurve: string) =>
  generateKeyPairSync('ec', { namedCurve }).privateKey.export({ format: 'jwk' });
const rsa = (modulusLength: number) =>
  generateKeyPairSync('rsa', { modulusLength }).privateKey.export({ format: 'jwk' });
const p256 = ec('P-256');
const rsa2048 = rsa(2048);
const imported = (jwk: object): ImportedKey => {
  const outcome = readImportedKey(JSON.stringify(jwk));
  if ('problem' in outcome) throw new Error(outcome.problem);
  return outcome.key;
};

describe('a private JWK is read', () => {
  test.each([
    ['an EC key', p256, 'ES256'],
    ['an RSA key', rsa2048, 'RS256'],
  ])('%s, by the algorithm of its kind', (_, jwk, algorithm) => {
    const key = imported({ ...jwk, kid: 'mine', alg: algorithm, use: 'sig' });
    expect(key).toMatchObject({
      kid: 'mine',
      algorithm,
      publicKey: { kid: 'mine', alg: algorithm, use: 'sig', kty: jwk.kty },
      privateKey: { d: jwk.d },
    });
    for (const value of privateValues(key)) expect(JSON.stringify(key.publicKey)).not.toContain(value);
  });

  test('without a kid it is key-1, as the reference service names it', () => {
    expect(imported(p256).kid).toBe('key-1');
  });

  test('with a kid of 128 characters, the longest that can be revoked', () => {
    expect(imported({ ...p256, kid: 'k'.repeat(128) }).kid).toHaveLength(128);
  });

  const { d: _, ...publicOnly } = p256;
  const { q: __, ...withoutQ } = rsa2048;
  test.each<[string, string, RegExp]>([
    ['no JSON', 'no JSON', /^it is not a JSON object/],
    ['a list', '[]', /^it is not a JSON object/],
    ['null', 'null', /^it is not a JSON object/],
    ['a text', '"d"', /^it is not a JSON object/],
    ['a symmetric key', JSON.stringify({ kty: 'oct', k: 'c2VjcmV0' }), /^it is a symmetric key/],
    ['a public key', JSON.stringify(publicOnly), /^it has no private part \(d\)$/],
    ['a key of another curve', JSON.stringify(ec('P-384')), /member crv is missing or wrong/],
    ['a key without a member', JSON.stringify(withoutQ), /member q is missing or wrong/],
    ['a key of no kind', JSON.stringify({ d: 'x' }), /member kty is missing or wrong/],
    ['a kid that is no text', JSON.stringify({ ...p256, kid: 7 }), /^its kid is not a text$/],
    ['an empty kid', JSON.stringify({ ...p256, kid: '' }), /^its kid is not a text$/],
    [
      'a kid that cannot be revoked',
      JSON.stringify({ ...p256, kid: 'k'.repeat(129) }),
      /more than 128 characters/,
    ],
    ['another alg', JSON.stringify({ ...p256, alg: 'RS256' }), /^its alg is not ES256/],
    ['a d of another key', JSON.stringify({ ...p256, d: ec('P-256').d }), /do not belong together$/],
    ['a weak RSA key', JSON.stringify(rsa(1024)), /^it has 1024 bits, and RSA keys need 2048$/],
  ])('%s is refused, and the reason holds none of its values', (_, text, reason) => {
    const outcome = readImportedKey(text);
    expect(outcome).toEqual({ problem: expect.stringMatching(reason) });
    for (const value of [p256.d, rsa2048.d]) expect(JSON.stringify(outcome)).not.toContain(value);
  });
});

describe('a keyring that begins with an imported key', () => {
  const { privateKey, publicKey } = spare({ algorithm: 'RS256' }) as ImportedKey;
  const key = {
    kid: 'key-1',
    algorithm: 'RS256',
    privateKey,
    publicKey: { ...publicKey, kid: 'key-1' },
  } satisfies ImportedKey;
  const importing: Partial<KeyPolicy> = { importMaxTTLMs: 2 * hour };
  const decide = (policy: Partial<KeyPolicy>, outcome?: { key: ImportedKey } | { problem: string }) =>
    planned({
      policy: policyOf(policy),
      observed: absent,
      traces: noTraces,
      now: t0,
      ...(outcome && { imported: outcome }),
    });
  const begun = (): Keyring => {
    const decision = decide(importing, { key });
    if (decision.action !== 'write') throw new Error(decision.action);
    return decision.keyring;
  };
  const at = (now: number, keyring: Keyring, policy: Partial<KeyPolicy> = importing) =>
    plannedKeyring({
      policy: policyOf(policy),
      observed: present(keyring),
      traces: tracesOf(keyring),
      servers: serving(keyring),
      now,
    });

  test('signs with it at once, for as long as the old service allowed, and has two spares of its own', () => {
    const decision = decide(importing, { key });
    expect(decision).toMatchObject({
      action: 'write',
      change: 'KeyringImported',
      rotation: { reason: 'ImportUnderWay' },
    });
    const keyring = begun();
    expect(keyring).toMatchObject({ revision: firstRevision(t0), importedKeyID: 'key-1' });
    expect(activeKey(keyring, t0)).toMatchObject({
      ...key,
      createdAt: t0,
      activateAt: t0,
      signUntil: t0 + 37 * day,
      maxTTLMs: 2 * hour,
    });
    expect(activeKey(keyring, t0)).not.toHaveProperty('acceptedFrom');
    expect(spareKeys(keyring).map(({ algorithm }) => algorithm)).toEqual(['ES256', 'ES256']);
  });

  test('records the longer of both services lifetimes', () => {
    const decision = decide({ ...importing, maxTTLMs: 3 * hour }, { key });
    expect(decision.action === 'write' && activeKey(decision.keyring, t0)?.maxTTLMs).toBe(3 * hour);
  });

  test.each<[string, { problem: string } | undefined, string]>([
    ['cannot be read', { problem: 'it is damaged' }, 'it is damaged'],
    ['was not read', undefined, 'it was not read'],
  ])('is not made of a key that %s', (_, outcome, problem) => {
    expect(decide(importing, outcome)).toEqual({
      action: 'hold',
      reason: 'ImportFailed',
      problem,
      revoked: [],
    });
  });

  test.each<[string, Partial<KeyPolicy>]>([
    ['when it is due', {}],
    ['by rotateNow', { rotateNow: 'now' }],
    ['by another algorithm', { algorithm: 'ES256' }],
  ])('does not rotate %s', (_, policy) => {
    const served = at(t0 + day, begun()).keyring;
    const now = t0 + 35 * day;
    const { keyring, rotation } = at(now, served, { ...importing, ...policy });
    expect(rotation.reason).toBe('ImportUnderWay');
    expect(committedKey(keyring, now)).toBeUndefined();
    expect(activeKey(keyring, now)?.kid).toBe('key-1');
  });

  test('is given the longer lifetime for it alone: the old service signs with no other', () => {
    const { keyring } = at(t0 + day, begun(), { ...importing, revokedKeyIDs: ['key-1'] });
    expect(activeKey(keyring, t0 + day)?.kid).not.toBe('key-1');
    expect(activeKey(keyring, t0 + day)?.maxTTLMs).toBe(hour);
  });

  test('goes on signing with it past its end, while the migration lasts', () => {
    const now = t0 + 400 * day;
    const { keyring } = at(now, at(t0 + day, begun()).keyring);
    expect(activeKey(keyring, now)).toMatchObject({ kid: 'key-1', signUntil: now + 7 * day });
  });

  test('rotates like any other once the field is removed', () => {
    const served = at(t0 + day, begun()).keyring;
    const now = t0 + 2 * day;
    const { keyring, rotation } = at(now, served, {});
    // Its algorithm is not the one of the spec.
    expect(rotation.reason).toBe('SwitchCommitted');
    expect(committedKey(keyring, now)?.algorithm).toBe('ES256');
  });

  test('tells of a stranger although it does not rotate', () => {
    const keyring = at(t0 + day, begun()).keyring;
    const decision = plannedKeyring({
      policy: policyOf(importing),
      observed: present(keyring),
      traces: tracesOf(keyring),
      servers: serving(keyring, { answers: [['strange']] }),
      now: t0 + day,
    });
    expect(decision.rotation.reason).toBe('UnknownKeyServed');
  });

  test('withdraws it by revocation alone', () => {
    const retired = publishedOnly({ kid: 'key-1', removeAt: t0 + day });
    const keyring = keyringOf({ keys: [active(), retired, spare(), spare()], importedKeyID: 'key-1' });
    const has = (policy: Partial<KeyPolicy>) =>
      at(t0 + 2 * day, keyring, policy).keyring.keys.some(({ kid }) => kid === 'key-1');
    expect(has(importing)).toBe(true);
    expect(has({})).toBe(false);
    expect(has({ ...importing, revokedKeyIDs: ['key-1'] })).toBe(false);
  });

  const gone = (
    outcome: { key: ImportedKey } | { problem: string },
    policy: Partial<KeyPolicy> = {},
    revoked: string[] = [],
  ) => {
    const before = begun();
    const records = revoked.map((kid) => ({
      kid,
      algorithm: 'RS256' as const,
      revokedAt: 0,
      safeAt: 0,
      safeAtWorst: 0,
    }));
    return planned({
      policy: policyOf({ ...importing, ...policy }),
      observed: absent,
      traces: tracesOf(before, { distributed: [], revoked: records }),
      imported: outcome,
      now: t0 + day,
    });
  };

  test('is rebuilt from the old copy of the key when all else is lost, and needs no consent for that', () => {
    const decision = gone({ key });
    expect(decision).toMatchObject({ action: 'write', change: 'KeyringRebuilt' });
    if (decision.action !== 'write') return;
    expect(activeKey(decision.keyring, t0 + day)).toMatchObject({ kid: 'key-1', privateKey: key.privateKey });
    expect(decision.keyring.importedKeyID).toBe('key-1');
    expect(activeKey(decision.keyring, t0 + day)?.signUntil).toBe(t0 + day + 37 * day);
  });

  test.each([
    ['in the spec', { revokedKeyIDs: ['key-1'] }, []],
    ['in status', {}, ['key-1']],
  ])('is not rebuilt from a key that was revoked %s', (_, policy, revoked) => {
    expect(gone({ key }, policy, revoked)).toMatchObject({ action: 'hold', reason: 'KeyringLost' });
  });

  test('is rebuilt from it although another key was revoked', () => {
    expect(gone({ key }, {}, ['other'])).toMatchObject({ action: 'write', change: 'KeyringRebuilt' });
  });

  test('waits where all else is lost and the old copy of the key cannot be read', () => {
    expect(gone({ problem: 'it is no key' })).toMatchObject({ action: 'hold', reason: 'KeyringLost' });
  });

  test('that is replaced by consent has not begun with the key, which it does not hold', () => {
    const decision = gone({ key }, { rotateNow: 'go', revokedKeyIDs: ['key-1'] });
    expect(decision).toMatchObject({ change: 'KeyringReplaced' });
    expect(decision.action === 'write' && decision.keyring).not.toHaveProperty('importedKeyID');
  });

  const retained = (held: Partial<Keyring>, outcome?: { key: ImportedKey } | { problem: string }) => {
    const keyring = keyringOf(held);
    return planned({
      policy: policyOf(importing),
      observed: present(keyring),
      traces: noTraces,
      now: t0,
      ...(outcome && { imported: outcome }),
    });
  };
  const same = () => active({ ...key, algorithm: 'RS256' });
  test.each<[string, Partial<Keyring>, { key: ImportedKey } | { problem: string } | undefined, object]>([
    [
      'that lacks it: nothing is distributed',
      {},
      { key },
      { reason: 'ImportMismatch', problem: expect.stringMatching(/has no key key-1$/) },
    ],
    [
      'that has another of its name: nothing is distributed',
      { keys: [active({ kid: 'key-1' }), spare(), spare()] },
      { key },
      { reason: 'ImportMismatch', problem: expect.stringMatching(/another key of the name key-1$/) },
    ],
    [
      'that began with another of its name: nothing is distributed',
      { keys: [active({ kid: 'key-1' }), spare(), spare()], importedKeyID: 'key-1' },
      { key },
      { reason: 'ImportMismatch' },
    ],
    [
      'while it cannot be read',
      {},
      { problem: 'it is damaged' },
      { reason: 'ImportFailed', problem: 'it is damaged' },
    ],
    ['while it was not read', {}, undefined, { reason: 'ImportFailed', problem: 'it was not read' }],
    [
      'that signs with it is adopted, and has begun with it, for as long as the old service allowed',
      { keys: [same(), spare(), spare()] },
      { key },
      {
        action: 'write',
        keyring: { importedKeyID: 'key-1', keys: [{ kid: 'key-1', maxTTLMs: 2 * hour }, {}, {}] },
      },
    ],
    [
      'that no longer signs with it: nothing is distributed',
      { keys: [active(), publishedOnly({ ...same(), activateAt: t0 - day }), spare(), spare()] },
      { key },
      { reason: 'ImportMismatch', problem: expect.stringMatching(/no longer signs with key-1$/) },
    ],
    [
      'that only publishes it, and signs with none: nothing is distributed',
      { keys: [publishedOnly(same()), spare(), spare()] },
      { key },
      { reason: 'ImportMismatch', problem: expect.stringMatching(/no longer signs with key-1$/) },
    ],
    [
      'that began with it is adopted, whatever became of the Secret since',
      { keys: [{ ...same(), maxTTLMs: 2 * hour }, spare(), spare()], importedKeyID: 'key-1' },
      { problem: 'it is gone' },
      { action: 'keep' },
    ],
  ])('a retained keyring %s', (_, keyring, outcome, expected) => {
    expect(retained(keyring, outcome)).toMatchObject(expected);
  });

  test('a retained keyring that lacks it publishes nothing', () => {
    expect(retained({}, { key })).not.toHaveProperty('publish');
  });
});
