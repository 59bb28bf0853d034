import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { signerAt } from '../../../sidecar/contract/signer.ts';

const key = (kid: string, activateAt: number, signUntil = 1000, warnFrom = 900) => ({
  kid,
  activateAt,
  signUntil,
  warnFrom,
});

describe('which key signs', () => {
  test.each([
    ['the only one', [key('a', 0)], 10, 'a', 'good'],
    ['the only one, before it is active', [key('a', 100)], 10, 'a', 'good'],
    ['the newest that is active', [key('a', 0), key('b', 50), key('c', 100)], 60, 'b', 'good'],
    ['the next from its very instant', [key('a', 0), key('b', 50)], 50, 'b', 'good'],
    ['not the next a moment before', [key('a', 0), key('b', 50)], 49, 'a', 'good'],
    ['the earliest while none is active', [key('b', 200), key('a', 100)], 10, 'a', 'good'],
    ['one that nears its end', [key('a', 0)], 900, 'a', 'warn'],
    ['none at the end', [key('a', 0)], 1000, 'a', 'ended'],
    [
      'none past the end, even if an older key goes on',
      [key('a', 0, 5000), key('b', 50, 1000)],
      2000,
      'b',
      'ended',
    ],
    ['the greater kid of two that start together', [key('b', 0), key('a', 0)], 10, 'b', 'good'],
  ] as const)('%s', (_name, [first, ...rest], now, kid, state) => {
    const choice = signerAt([first, ...rest], now);
    expect({ kid: choice.key.kid, state: choice.state }).toEqual({ kid, state });
  });

  const instant = fc.integer({ min: 0, max: 50 });
  const keys = fc
    .uniqueArray(
      fc.record({ kid: fc.string(), activateAt: instant, signUntil: instant, warnFrom: instant }),
      {
        minLength: 1,
        maxLength: 6,
        selector: ({ kid }) => kid,
      },
    )
    .map(([first, ...rest]) => [first, ...rest] as [ReturnType<typeof key>, ...ReturnType<typeof key>[]]);

  test('is never past its end when it may sign, and does not depend on the order of the keys', () => {
    fc.assert(
      fc.property(keys, instant, (list, now) => {
        const choice = signerAt(list, now);
        const reversed = list.toReversed() as typeof list;
        expect(choice.state === 'ended').toBe(now >= choice.key.signUntil);
        expect(signerAt(reversed, now)).toEqual(choice);
      }),
    );
  });

  test('only ever becomes a newer key as time passes', () => {
    fc.assert(
      fc.property(keys, instant, instant, (list, a, b) => {
        const earlier = signerAt(list, Math.min(a, b)).key;
        const later = signerAt(list, Math.max(a, b)).key;
        expect(later.activateAt).toBeGreaterThanOrEqual(earlier.activateAt);
      }),
    );
  });

  test('is active, unless none is', () => {
    fc.assert(
      fc.property(keys, instant, (list, now) => {
        const { key: chosen } = signerAt(list, now);
        const active = list.filter(({ activateAt }) => activateAt <= now);
        const instants = (active.length > 0 ? active : list).map(({ activateAt }) => activateAt);
        const expected = active.length > 0 ? Math.max(...instants) : Math.min(...instants);
        expect(chosen.activateAt).toBe(expected);
      }),
    );
  });
});
