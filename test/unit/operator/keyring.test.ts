import { describe, expect, test } from '@jest/globals';
import {
  activeKey,
  committedKey,
  mapKeys,
  publicKeys,
  spareKeys,
  stateOf,
  successorOf,
  uniteByKid,
  without,
} from '../../../operator/plan/keyring.ts';
import { active, day, hour, keyringOf, kids, publishedOnly, spare, t0 } from './builders.ts';

describe('a switch is committed', () => {
  const signing = active();
  const next = active({ activateAt: t0 + day });
  const keyring = keyringOf({ keys: [next, signing, spare(), publishedOnly({ activateAt: t0 + day })] });

  test('to the key whose time to sign is still to come, until that very instant', () => {
    expect(committedKey(keyring, t0 + day - 1)?.kid).toBe(next.kid);
    expect(committedKey(keyring, t0 + day)).toBeUndefined();
  });

  test('never to a spare, nor to a key without a private part', () => {
    const others = keyringOf({ keys: keyring.keys.filter(({ kid }) => kid !== next.kid) });
    expect(committedKey(others, t0)).toBeUndefined();
  });

  test('never to the key that signs already, although a clock that is behind thinks that its time is to come', () => {
    const first = keyringOf({ keys: [active({ activateAt: t0 + hour }), spare(), spare()] });
    expect(activeKey(first, t0)?.kid).toBe(kids(first)[0]);
    expect(committedKey(first, t0)).toBeUndefined();
  });
});

test('of two keys that start together one signs, and no switch to the other is committed', () => {
  const two = keyringOf({ keys: [active({ kid: 'a' }), active({ kid: 'b' })] });
  expect(activeKey(two, t0)?.kid).toBe('b');
  expect(committedKey(two, t0)).toBeUndefined();
  expect(committedKey(keyringOf({ keys: [spare()] }), t0)).toBeUndefined();
});

describe('the state of a key', () => {
  test('of a keyring in which none signs is Next with a private part, and Retired without', () => {
    const keyring = keyringOf({ keys: [spare(), publishedOnly()] });
    expect(keyring.keys.map((key) => stateOf(keyring, key, t0))).toEqual(['Next', 'Retired']);
  });

  test('is Retired for one that started together with the key that signs', () => {
    const two = keyringOf({ keys: [active({ kid: 'a' }), active({ kid: 'b' })] });
    expect(two.keys.map((key) => stateOf(two, key, t0))).toEqual(['Retired', 'Active']);
  });
});

describe('the successor of a key', () => {
  const [first, second, third] = [
    active(),
    active({ activateAt: t0 + hour }),
    active({ activateAt: t0 + day }),
  ];
  const keyring = keyringOf({ keys: [third, spare(), second, first, publishedOnly()] });

  test('is the next that was given its time to sign, wherever it is in the list', () => {
    expect(successorOf(keyring, first)?.kid).toBe(second.kid);
    expect(successorOf(keyring, second)?.kid).toBe(third.kid);
    const reversed = { ...keyring, keys: keyring.keys.toReversed() };
    expect(successorOf(reversed, first)?.kid).toBe(second.kid);
  });

  test('is nobody for the newest, and for one that never signed', () => {
    expect(successorOf(keyring, third)).toBeUndefined();
    expect(successorOf(keyring, spare())).toBeUndefined();
  });
});

describe('spares', () => {
  test('are the keys that can sign and were not given a time to, as they are listed', () => {
    const keyring = keyringOf({
      keys: [active(), spare({ kid: 'b' }), publishedOnly(), spare({ kid: 'a' })],
    });
    expect(spareKeys(keyring).map(({ kid }) => kid)).toEqual(['b', 'a']);
  });
});

describe('keys that several lists have', () => {
  test('are there once, as the first list has them, in the order of the lists', () => {
    const [a, b, c] = [
      { kid: 'a', from: 1 },
      { kid: 'b', from: 1 },
      { kid: 'c', from: 2 },
    ];
    expect(uniteByKid([a, b], [c, { kid: 'a', from: 2 }], [])).toEqual([a, b, c]);
    expect(uniteByKid()).toEqual([]);
  });
});

describe('a keyring', () => {
  const keyring = keyringOf({ removedKeyIDs: ['gone'] });

  test('publishes the public part of each key', () => {
    const { keys } = keyring;
    expect(publicKeys(keyring)).toEqual(
      keys.map((key) => expect.objectContaining({ kid: key.kid, use: 'sig' })),
    );
    expect(JSON.stringify(publicKeys(keyring))).not.toContain('"d"');
  });

  test('whose keys are changed stays the same otherwise', () => {
    expect(mapKeys(keyring, (key) => ({ ...key, createdAt: 1 }))).toEqual({
      ...keyring,
      keys: keyring.keys.map((key) => ({ ...key, createdAt: 1 })),
    });
  });

  test('without some keys remembers their names, each once', () => {
    const [first, ...others] = keyring.keys;
    const after = without(keyring, ({ kid }) => kid === first?.kid);
    expect(after).toEqual({ ...keyring, keys: others, removedKeyIDs: ['gone', first?.kid] });
    const again = { ...after, keys: keyring.keys };
    expect(without(again, ({ kid }) => kid === first?.kid)).toEqual(after);
    expect(without(keyring, () => false)).toEqual(keyring);
  });
});
