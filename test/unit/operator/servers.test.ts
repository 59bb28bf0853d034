import { describe, expect, test } from '@jest/globals';
import {
  abbreviated,
  isMissingSomewhere,
  isServedByAll,
  isServedByPods,
  isServedSomewhere,
  observeServers,
  type ServedKey,
  servedKeyIDs,
  servedSets,
  strangers,
} from '../../../operator/plan/servers.ts';
import { thumbprint } from '../../../operator/plan/thumbprint.ts';
import { active, keyringOf, newKeys, spare } from './builders.ts';

const keyring = keyringOf({ removedKeyIDs: ['gone', 'imported'], importedKeyID: 'imported' });
const publicOf = (index: number): ServedKey => keyring.keys[index]?.publicKey as ServedKey;
const [first, second, third] = [publicOf(0), publicOf(1), publicOf(2)];
const other = newKeys(1)[0]?.publicKey as ServedKey;
const rsa = keyringOf({ keys: [active({ algorithm: 'RS256' }), spare(), spare()] });

describe('a served key is named', () => {
  test('by its kid, when its members are those of the keyring', () => {
    expect(servedKeyIDs([first, second, third], keyring)).toEqual(keyring.keys.map(({ kid }) => kid));
    expect(servedKeyIDs([rsa.keys[0]?.publicKey as ServedKey], rsa)).toEqual([rsa.keys[0]?.kid]);
  });

  test.each<[string, ServedKey]>([
    ['another point', { ...first, x: other.x }],
    ['another ordinate', { ...first, y: other.y }],
    ['another curve', { ...first, crv: 'P-384' }],
    ['another kind', { ...first, kty: 'RSA', n: 'n', e: 'AQAB' }],
    ['no members', { kid: first.kid }],
  ])('as no key of ours with %s', (_, served) => {
    expect(servedKeyIDs([served], keyring)).toEqual([`${first.kid} with other members`]);
  });

  test('as no key of ours with another exponent or modulus', () => {
    const key = rsa.keys[0]?.publicKey as ServedKey;
    for (const change of [{ e: 'Aw' }, { n: 'n' }])
      expect(servedKeyIDs([{ ...key, ...change }], rsa)).toEqual([`${key.kid} with other members`]);
  });

  test('by its kid, where nothing is left to compare with', () => {
    expect(servedKeyIDs([{ ...other, kid: 'gone' }], keyring)).toEqual(['gone']);
    expect(servedKeyIDs([{ ...other, kid: 'any' }], undefined)).toEqual(['any']);
  });

  test('by its kid, where that is its thumbprint, and as no key of ours where it only looks like one', () => {
    const own = thumbprint(other);
    expect(servedKeyIDs([{ ...other, kid: own }], keyring)).toEqual([own]);
    expect(servedKeyIDs([{ ...first, kid: own }], keyring)).toEqual([`${own} with other members`]);
    const imported = keyringOf({ importedKeyID: own });
    expect(servedKeyIDs([{ ...first, kid: own }], imported)).toEqual([own]);
  });
});

test('a thumbprint is that of RFC 7638 section 3.1, whatever else the key says', () => {
  const key = {
    kty: 'RSA',
    n: '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw',
    e: 'AQAB',
    alg: 'RS256',
    kid: '2011-04-29',
  };
  expect(thumbprint(key)).toBe('NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs');
});

describe('what servers are seen to serve', () => {
  const answer = (clockDifferenceMs: number, ...keys: ServedKey[]) => ({ pod: 'a', keys, clockDifferenceMs });
  const silent = { pod: 'b', problem: 'it cannot be reached' };

  test('is nothing where none was asked', () => {
    expect(observeServers([], keyring)).toEqual({ answers: [], silent: 0, clockDifferenceMs: 0 });
  });

  test('is told with the silent ones, and the clock that differs most, either way', () => {
    expect(observeServers([answer(3, first), silent, answer(-7, second), silent], keyring)).toEqual({
      answers: [[first.kid], [second.kid]],
      silent: 2,
      clockDifferenceMs: 7,
    });
  });

  test.each([
    ['by all', first.kid, true, false, true],
    ['by one', second.kid, false, true, true],
    ['by none', third.kid, false, true, false],
  ])('is served %s', (_, kid, byAll, missing, somewhere) => {
    const seen = observeServers([answer(0, first, second), answer(0, first)], keyring);
    expect(isServedByAll(seen, kid)).toBe(byAll);
    expect(isMissingSomewhere(seen, kid)).toBe(missing);
    expect(isServedSomewhere(seen, kid)).toBe(somewhere);
  });

  test.each([
    ['by both', first.kid, true, false, true],
    ['by the pods alone', second.kid, false, true, true],
    ['by the external URL alone', third.kid, false, true, true],
    ['by neither', 'nowhere', false, true, false],
  ])('counts at an external URL as in a pod: %s', (_, kid, byAll, missing, somewhere) => {
    const seen = observeServers([answer(0, first, second)], keyring, { keys: [first, third] });
    expect(isServedByAll(seen, kid)).toBe(byAll);
    expect(isMissingSomewhere(seen, kid)).toBe(missing);
    expect(isServedSomewhere(seen, kid)).toBe(somewhere);
    expect(isServedByPods(seen, kid)).toBe([first.kid, second.kid].includes(kid));
    expect(servedSets(seen).flat()).toEqual([first, second, first, third].map((key) => key.kid));
  });

  test('is by an external URL alone as good as not seen', () => {
    expect(isServedByAll(observeServers([], keyring, { keys: [first] }), first.kid)).toBe(false);
  });

  test('is the same where an external URL gives no set', () => {
    const problem = { problem: 'it answered 404' };
    expect(observeServers([answer(0, first)], keyring, problem)).toEqual(
      observeServers([answer(0, first)], keyring),
    );
  });

  test('has another name at an external URL too, where its members are others', () => {
    const served = { ...first, x: other.x };
    expect(observeServers([], keyring, { keys: [served] }).external).toEqual([
      `${first.kid} with other members`,
    ]);
  });

  test('is neither served nor missing where nobody answered', () => {
    const none = observeServers([silent], keyring);
    expect(isServedByAll(none, first.kid)).toBe(false);
    expect(isMissingSomewhere(none, first.kid)).toBe(false);
  });
});

describe('strangers', () => {
  test('are not those that were revoked, however long ago', () => {
    const record = { kid: 'leaked', algorithm: 'ES256', revokedAt: 0, safeAt: 0, safeAtWorst: 0 } as const;
    expect(strangers(['leaked'], { ...keyring, revoked: [record] })).toEqual([]);
  });

  test('are the kids that the keyring neither has nor had, each once', () => {
    expect(strangers([first.kid, 'gone', 'new', 'new', 'newer'], keyring)).toEqual(['new', 'newer']);
    expect(strangers([], keyring)).toEqual([]);
  });

  test.each([
    [['a'], 'a'],
    [['a', 'b', 'c'], 'a, b, c'],
    [['a', 'b', 'c', 'd', 'e'], 'a, b, c and 2 more'],
    [['x'.repeat(100)], 'x'.repeat(64)],
  ])('are told in few words', (kids, text) => {
    expect(abbreviated(kids)).toBe(text);
  });
});
