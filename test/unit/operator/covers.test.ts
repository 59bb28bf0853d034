import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { covers } from '../../../operator/apply/covers.ts';
import { serverDeployment } from '../../../operator/build/server.ts';
import { issuerOf } from './builders.ts';

const resources = (cpu: unknown) => ({ resources: { limits: { cpu } } });

const cases: [string, unknown, unknown, boolean][] = [
  ['the same', { a: 1, b: { c: 'x' } }, { a: 1, b: { c: 'x' } }, true],
  [
    "the API server's defaults and others' fields",
    { a: 1, b: 2, c: { d: 1, e: 2 } },
    { a: 1, c: { d: 1 } },
    true,
  ],
  ['another value', { a: 1 }, { a: 2 }, false],
  ['another type of the same text', { a: 1 }, { a: '1' }, false],
  ['a member that is not there', {}, { a: 1 }, false],
  ['a member that is there, but is null', { a: null }, { a: 1 }, false],
  ['nothing at all', undefined, { a: 1 }, false],
  ['null', null, {}, false],
  ['an undefined wish', { a: 1 }, { a: undefined }, true],
  ['false, where it is wished', { a: false }, { a: false }, true],
  ['false, where true is wished', { a: false }, { a: true }, false],
  ['an absent member, where false is wished', {}, { a: false }, false],
  ['a list of the same items', [1, 2], [1, 2], true],
  ['a list in another order', [2, 1], [1, 2], false],
  ['a longer list', [1, 2, 3], [1, 2], false],
  ['a shorter list', [1], [1, 2], false],
  ['an empty list, where one is wished', [], [], true],
  ['a list, where an empty one is wished', [1], [], false],
  ['no list', { 0: 1 }, [1], false],
  ['items with defaults', [{ key: 'a', more: 1 }], [{ key: 'a' }], true],
  ['named items in another order', [{ name: 'b' }, { name: 'a' }], [{ name: 'a' }, { name: 'b' }], true],
  ['named items of others between ours', [{ name: 'x' }, { name: 'a', v: 1 }], [{ name: 'a', v: 1 }], false],
  ['a named item that differs', [{ name: 'a', v: 2 }], [{ name: 'a', v: 1 }], false],
  ['a named item that is missing', [{ name: 'b' }], [{ name: 'a' }], false],
  ['a null among named items', [null, { name: 'a' }], [{ name: 'a' }], false],
  ['cpu that was rewritten', resources('100m'), resources('0.1'), true],
  ['cpu as a number', resources('2'), resources(2), true],
  ['cpu in thousandths', resources('1'), resources('1000m'), true],
  ['memory in another unit', resources('1Gi'), resources('1024Mi'), true],
  ['memory by powers of ten', resources('1M'), resources('1000k'), true],
  ['memory with an exponent', resources('1e3'), resources('1k'), true],
  ['memory in exa, which is no exponent', resources('1E'), resources('1000P'), true],
  ['millis of a byte', resources('128974848000m'), resources('128974848'), true],
  ['other cpu', resources('200m'), resources('0.1'), false],
  ['M, which is not Mi', resources('64M'), resources('64Mi'), false],
  ['no cpu', { resources: { limits: {} } }, resources('0.1'), false],
  ['what is no quantity', resources('lots'), resources('few'), false],
  ['equal texts that are no quantity', resources('lots'), resources('lots'), true],
  ['quantities anywhere else', { data: { a: '1000m' } }, { data: { a: '1' } }, false],
];

describe('an object covers what is wished', () => {
  test.each(cases)('%s', (_, observed, desired, expected) => {
    expect(covers(observed, desired)).toBe(expected);
  });

  test('itself, and itself with anything added to its objects', () => {
    const value = fc.jsonValue({ maxDepth: 4 });
    fc.assert(
      fc.property(value, (any) => {
        expect(covers(any, any)).toBe(true);
        expect(covers(padded(any), any)).toBe(true);
      }),
    );
  });

  test('no longer, once any of what we set is changed', () => {
    const desired = serverDeployment(issuerOf(), 'image:1');
    const leaves = leafPaths(desired);
    expect(leaves.length).toBeGreaterThan(60);
    for (const path of leaves) {
      const observed = padded(JSON.parse(JSON.stringify(desired)));
      const parent = path.slice(0, -1).reduce((at, member) => at[member], observed);
      parent[path.at(-1) as string] = 'tampered with';
      expect([path.join('.'), covers(observed, desired)]).toEqual([path.join('.'), false]);
    }
  });
});

// biome-ignore lint/suspicious/noExplicitAny: any JSON
type Json = any;

function padded(value: Json): Json {
  if (Array.isArray(value)) return value.map(padded);
  if (!value || typeof value !== 'object') return value;
  const inner = Object.entries(value).map(([member, below]) => [member, padded(below)]);
  return { ...Object.fromEntries(inner), 'added by the server': 1 };
}

function leafPaths(value: Json, path: string[] = []): string[][] {
  if (value === null || typeof value !== 'object') return [path];
  return Object.entries(value).flatMap(([member, below]) => leafPaths(below, [...path, member]));
}
