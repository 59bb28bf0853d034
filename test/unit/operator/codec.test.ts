import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { durationMs } from '../../../operator/api/duration.ts';
import { decodeKeyring, encodeKeyring } from '../../../operator/plan/codec.ts';
import { activeKey, type Keyring, type KeyringKey } from '../../../operator/plan/keyring.ts';
import {
  active,
  day,
  hour,
  keyringOf,
  newKeys,
  noTraces,
  plannedKeyring,
  policyOf,
  present,
  privateValues,
  publishedOnly,
  spare,
  t0,
} from './builders.ts';

// biome-ignore lint/suspicious/noExplicitAny: the tests damage any member of the JSON
type Json = any;

const problemOf = (text: string | undefined): string => {
  const decoded = decodeKeyring(text);
  if ('keyring' in decoded) throw new Error('it was read');
  return decoded.problem;
};

const readBack = (keyring: Keyring): Keyring => {
  const decoded = decodeKeyring(encodeKeyring(keyring));
  if ('problem' in decoded) throw new Error(decoded.problem);
  return decoded.keyring;
};

describe('a keyring comes back as it was written', () => {
  const pairs = { ES256: newKeys(8), RS256: newKeys(2, 'RS256') };
  const instant = fc.date({ min: new Date('1970-01-01'), max: new Date('9999-12-31'), noInvalidDate: true });
  const key = fc
    .record({
      algorithm: fc.constantFrom('ES256' as const, 'RS256' as const),
      pair: fc.nat(),
      isPublic: fc.boolean(),
      createdAt: instant,
      times: fc.record(
        {
          servedSince: instant,
          activateAt: instant,
          signUntil: instant,
          acceptedFrom: instant,
          distributedAt: instant,
          removeAt: instant,
        },
        { requiredKeys: [] },
      ),
      maxTTLSeconds: fc.option(fc.integer({ min: 1, max: 86_400 }), { nil: undefined }),
    })
    .map(({ algorithm, pair, isPublic, createdAt, times, maxTTLSeconds }): KeyringKey => {
      const { kid, publicKey, privateKey } = pairs[algorithm][
        pair % pairs[algorithm].length
      ] as (typeof pairs.ES256)[0];
      return {
        kid,
        publicKey,
        algorithm,
        createdAt: createdAt.getTime(),
        ...(!isPublic && { privateKey }),
        ...Object.fromEntries(Object.entries(times).map(([name, time]) => [name, time.getTime()])),
        ...(maxTTLSeconds && { maxTTLMs: maxTTLSeconds * 1000 }),
      };
    });
  const revokedKey = fc
    .record({
      kid: fc.string({ minLength: 1 }),
      algorithm: fc.constantFrom('ES256' as const, 'RS256' as const),
      revokedAt: instant,
      safeAt: instant,
      safeAtWorst: instant,
    })
    .map(({ revokedAt, safeAt, safeAtWorst, ...key }) => ({
      ...key,
      revokedAt: revokedAt.getTime(),
      safeAt: safeAt.getTime(),
      safeAtWorst: safeAtWorst.getTime(),
    }));
  const keyring = fc.record({
    revision: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    keys: fc.uniqueArray(key, { minLength: 1, maxLength: 6, selector: ({ kid }) => kid }),
    removedKeyIDs: fc.array(fc.string()),
    revoked: fc.array(revokedKey),
    handledRotateNow: fc.string({ unit: 'grapheme' }),
    namespaces: fc.array(fc.string()),
    deselected: fc.array(
      fc.record(
        {
          namespace: fc.string({ minLength: 1 }),
          since: instant.map((time) => time.getTime()),
          keyIDs: fc.array(fc.string()),
        },
        { noNullPrototype: true },
      ),
    ),
  });
  const imported = fc.option(fc.string(), { nil: undefined });

  test('whatever is in it', () => {
    fc.assert(
      fc.property(keyring, imported, (others, importedKeyID) => {
        const original = { ...others, ...(importedKeyID !== undefined && { importedKeyID }) };
        expect(readBack(original)).toStrictEqual(original);
      }),
    );
  });

  test('and is written the same again, so that an unchanged keyring is no write', () => {
    fc.assert(
      fc.property(keyring, (original) => {
        const text = encodeKeyring(readBack(original));
        expect(encodeKeyring(readBack(readBack(original)))).toBe(text);
      }),
    );
  });

  test('without what is not known: a time that is undefined is no time', () => {
    const [key, ...others] = keyringOf().keys as [KeyringKey, ...KeyringKey[]];
    const undefinedTimes = { servedSince: undefined, removeAt: undefined, rotateNow: undefined };
    const original = keyringOf({ keys: [{ ...key, ...undefinedTimes } as unknown as KeyringKey, ...others] });
    expect(readBack(original)).toStrictEqual({ ...original, keys: [key, ...others] });
  });

  test('with the rotateNow of a switch that is committed', () => {
    const original = keyringOf({ keys: [active(), active({ activateAt: t0 + day, rotateNow: 'now' })] });
    expect(readBack(original)).toEqual(original);
  });

  const admitted = ['1h', '90s', '1h30m', '24h', '2.5h'];
  const lossy = ['1.15h', '4.35m', '1001ms'];
  const settles = (max: string) => {
    const policy = policyOf({ maxTTLMs: durationMs(max) });
    const { keyring: written } = plannedKeyring({
      policy,
      observed: { state: 'absent' },
      traces: noTraces,
      now: t0,
    });
    expect(
      plannedKeyring({ policy, observed: present(readBack(written)), traces: noTraces, now: t0 }).action,
    ).toBe('keep');
  };
  test.each(admitted)('with ttl.max %s the keyring is written once', settles);
  test.each(lossy)('with ttl.max %s the keyring is written once', settles);
});

test('a keyring that was written before there were other namespaces has none', () => {
  const json = JSON.parse(encodeKeyring(keyringOf()));
  delete json.namespaces;
  delete json.deselected;
  expect(decodeKeyring(JSON.stringify(json))).toMatchObject({ keyring: { namespaces: [], deselected: [] } });
});

describe('what is damaged is told by its name, and no private value is told', () => {
  const keyring = keyringOf({
    keys: [active(), spare(), publishedOnly()],
    revoked: [{ kid: 'revoked', algorithm: 'ES256', revokedAt: t0, safeAt: t0, safeAtWorst: t0 }],
  });
  const secrets = keyring.keys.flatMap(privateValues);
  const other = active();
  const damage: [string, (json: Json) => unknown, string][] = [
    ['a version of the future', (json) => (json.formatVersion = 2), 'formatVersion'],
    ['no version', (json) => delete json.formatVersion, 'formatVersion'],
    ['no revision', (json) => delete json.revision, 'revision'],
    ['revision zero', (json) => (json.revision = 0), 'revision'],
    ['half a revision', (json) => (json.revision = 1.5), 'revision'],
    ['no keys', (json) => delete json.keys, 'keys'],
    ['an empty list of keys', (json) => (json.keys = []), 'keys'],
    ['keys of the wrong kind', (json) => (json.keys = json.keys[0].privateKey), 'keys'],
    ['no list of removed kids', (json) => delete json.removedKeyIDs, 'removedKeyIDs'],
    ['no list of revoked keys', (json) => delete json.revoked, 'revoked'],
    ['a revoked key without its kid', (json) => delete json.revoked[0].kid, 'revoked.0.kid'],
    ['a revocation without its time', (json) => delete json.revoked[0].safeAt, 'revoked.0.safeAt'],
    ['a service that is no instant', (json) => (json.keys[1].servedSince = 'long ago'), 'keys.1.servedSince'],
    ['an acceptance that is no instant', (json) => (json.keys[0].acceptedFrom = 0), 'keys.0.acceptedFrom'],
    ['no handledRotateNow', (json) => delete json.handledRotateNow, 'handledRotateNow'],
    ['no kid', (json) => delete json.keys[1].kid, 'keys.1.kid'],
    ['an unknown algorithm', (json) => (json.keys[0].algorithm = 'HS256'), 'keys.0.algorithm'],
    ['no public key', (json) => delete json.keys[2].publicKey, 'keys.2.publicKey'],
    [
      'a public key with a private member',
      (json) => (json.keys[2].publicKey.d = other.privateKey?.kty),
      'keys.2.publicKey',
    ],
    [
      'a private key in place of the public',
      (json) => (json.keys[0].publicKey = json.keys[0].privateKey),
      'keys.0.publicKey',
    ],
    ['a private key without d', (json) => delete json.keys[0].privateKey.d, 'keys.0.privateKey.d'],
    ['a private key with a strange d', (json) => (json.keys[0].privateKey.d += ' !'), 'keys.0.privateKey.d'],
    [
      'a private key that is a text',
      (json) => (json.keys[0].privateKey = JSON.stringify(json.keys[0].privateKey)),
      'keys.0.privateKey',
    ],
    ['no createdAt', (json) => delete json.keys[0].createdAt, 'keys.0.createdAt'],
    ['an instant that is a number', (json) => (json.keys[0].activateAt = 5), 'keys.0.activateAt'],
    [
      'an instant of no calendar',
      (json) => (json.keys[0].signUntil = '2026-02-30T00:00:00Z'),
      'keys.0.signUntil',
    ],
    ['a lifetime below zero', (json) => (json.keys[0].maxTTLSeconds = -1), 'keys.0.maxTTLSeconds'],
    ['a removal that is no instant', (json) => (json.keys[2].removeAt = 'tomorrow'), 'keys.2.removeAt'],
    ["another key's private part", (json) => (json.keys[0].privateKey = other.privateKey), 'keys.0'],
    ["another key's public part", (json) => (json.keys[1].publicKey.x = json.keys[0].publicKey.x), 'keys.1'],
    [
      'a point in the private part that is that of another key',
      (json) => {
        const { x, y } = other.publicKey;
        Object.assign(json.keys[0].privateKey, { x, y });
      },
      'keys.0 private key, public key, kid and algorithm',
    ],
    [
      'a point that is on no curve',
      (json) => {
        for (const half of [json.keys[0].privateKey, json.keys[0].publicKey]) half.y = half.x;
      },
      'keys.0 private key, public key, kid and algorithm',
    ],
    [
      'a public key of another kind than its algorithm',
      (json) => {
        const { kid, alg } = json.keys[2].publicKey;
        json.keys[2].publicKey = { ...spare({ algorithm: 'RS256' }).publicKey, kid, alg };
      },
      'keys.2 private key, public key, kid and algorithm',
    ],
    ['another kid than the public key', (json) => (json.keys[2].kid = 'another'), 'keys.2'],
    ['a public key that names another algorithm', (json) => (json.keys[2].publicKey.alg = 'RS256'), 'keys.2'],
    ['another algorithm than the public key', (json) => (json.keys[0].algorithm = 'RS256'), 'keys.0'],
  ];

  test.each(damage)('%s', (_, apply, member) => {
    const json = JSON.parse(encodeKeyring(keyring));
    apply(json);
    const problem = problemOf(JSON.stringify(json));
    expect(problem).toMatch(new RegExp(`^data\\.keyring\\.json: ${member.replaceAll('.', '\\.')}[ .]`));
    // A sentence of status, in which the name of the member is followed by what it should be.
    expect(problem).toMatch(/^data\.keyring\.json: [^ ]+ [a-z ]{4}/);
    for (const value of [...secrets, ...privateValues(other)]) expect(problem).not.toContain(value);
  });

  test.each([
    ['no text', () => undefined, 'it has no data.keyring.json'],
    ['an empty text', () => '', 'data.keyring.json is not JSON'],
    ['a cut text', () => encodeKeyring(keyring).slice(0, -20), 'data.keyring.json is not JSON'],
  ])('%s', (_, text, problem) => {
    expect(problemOf(text())).toBe(problem);
  });

  test.each(['null', '[]', '"text"', '1'])('%s in place of a keyring', (text) => {
    expect(problemOf(text)).toMatch(/^data\.keyring\.json: the whole /);
  });

  test('any member that is taken away or replaced: told, or read without it', () => {
    const text = encodeKeyring(keyring);
    const paths = pathsOf(JSON.parse(text));
    fc.assert(
      fc.property(fc.constantFrom(...paths), fc.option(fc.jsonValue(), { nil: undefined }), (path, value) => {
        const json = JSON.parse(text);
        const last = path.at(-1) as string;
        const parent = path.slice(0, -1).reduce((at, member) => at[member], json);
        if (value === undefined) delete parent[last];
        else parent[last] = value;
        const decoded = decodeKeyring(JSON.stringify(json));
        if ('keyring' in decoded) return;
        for (const secret of secrets) expect(decoded.problem).not.toContain(secret);
      }),
    );
  });

  test.each([
    ['ES256', ['d']],
    ['RS256', ['d', 'dp']],
    ['RS256', ['d', 'p', 'q', 'dp', 'dq', 'qi']],
  ] as const)(
    'a private key of %s whose %j is of another key signs nothing that its public key verifies',
    (algorithm, members) => {
      const key = spare({ algorithm });
      const stranger = spare({ algorithm }).privateKey as unknown as Record<string, string>;
      const taken = Object.fromEntries(members.map((member) => [member, stranger[member]]));
      const mixed = { ...key.privateKey, ...taken } as NonNullable<KeyringKey['privateKey']>;
      const problem = problemOf(encodeKeyring(keyringOf({ keys: [{ ...key, privateKey: mixed }] })));
      expect(problem).toContain('keys.0');
      for (const value of privateValues({ privateKey: mixed })) expect(problem).not.toContain(value);
    },
  );
});

test('a kid that occurs twice is damage', () => {
  const key = active();
  expect(problemOf(encodeKeyring(keyringOf({ keys: [key, key] })))).toBe(
    'data.keyring.json: keys has a kid twice',
  );
});

test('members that a later release adds are no damage', () => {
  const keyring = keyringOf();
  const json = JSON.parse(encodeKeyring(keyring));
  json.later = true;
  json.keys[0].later = { more: 1 };
  const decoded = decodeKeyring(JSON.stringify(json));
  expect(decoded).toEqual({ keyring });
});

test('instants with another offset are the same instants', () => {
  const keyring = keyringOf();
  const json = JSON.parse(encodeKeyring(keyring));
  json.keys[0].activateAt = '2026-03-01T02:00:00+02:00';
  const decoded = decodeKeyring(JSON.stringify(json));
  expect('keyring' in decoded && activeKey(decoded.keyring, t0)?.activateAt).toBe(t0);
});

test('instants are written for people, in RFC 3339', () => {
  const text = encodeKeyring(keyringOf({ keys: [active({ signUntil: t0 + day, maxTTLMs: hour })] }));
  expect(JSON.parse(text).keys[0]).toMatchObject({
    createdAt: '2026-03-01T00:00:00.000Z',
    activateAt: '2026-03-01T00:00:00.000Z',
    signUntil: '2026-03-02T00:00:00.000Z',
    maxTTLSeconds: 3600,
  });
});

function pathsOf(value: Json, path: string[] = []): string[][] {
  if (value === null || typeof value !== 'object') return [path];
  const below = Object.entries(value).flatMap(([member, inner]) => pathsOf(inner, [...path, member]));
  return path.length === 0 ? below : [path, ...below];
}
