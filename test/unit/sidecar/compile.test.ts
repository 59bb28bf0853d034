import { expect, test } from '@jest/globals';
import { compile, sealed, unsealed } from '../../../sidecar/bundle/compile.ts';

const bundle = { filename: '/none/sidecar.cjs', source: Buffer.from('module.exports = "é".length + 41;') };
const code = Buffer.from('compiled');

/** With one bit of its byte at an index changed. */
const damaged = (bytes: Buffer, index: number) =>
  Buffer.from(bytes.map((byte, at) => (at === index ? byte ^ 1 : byte)));

test('a script is the program, whatever it is written in', () => {
  const module: { exports: unknown } = { exports: undefined };
  compile(bundle).runInThisContext()(undefined, undefined, module);
  expect(module.exports).toBe(42);
});

test('compiled code is what was kept', () => {
  expect(unsealed(bundle, sealed(bundle, code))).toEqual(code);
});

test('damaged code is not used, nor code of another source of the same length', () => {
  const kept = sealed(bundle, code);
  for (let index = 0; index < kept.length; index += 1)
    expect(unsealed(bundle, damaged(kept, index))).toBeUndefined();
  expect(unsealed({ ...bundle, source: damaged(bundle.source, 3) }, kept)).toBeUndefined();
});

test('code that is missing or cut short is not used', () => {
  const kept = sealed(bundle, code);
  for (let length = 0; length < kept.length; length += 1)
    expect(unsealed(bundle, kept.subarray(0, length))).toBeUndefined();
  expect(unsealed(bundle, sealed(bundle, Buffer.alloc(0)))).toBeUndefined();
});
