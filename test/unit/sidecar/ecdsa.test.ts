import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fixedWidth } from '../../../sidecar/keys/ecdsa.ts';

/** An INTEGER as DER has it: without leading zeros, but one where the first bit is set. */
function integer(value: Uint8Array): Buffer {
  const significant = Buffer.from(value).subarray(
    Math.max(
      0,
      value.findIndex((byte) => byte !== 0),
    ),
  );
  const positive = (significant[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), significant]) : significant;
  return Buffer.concat([Buffer.of(2, positive.length), positive]);
}

// Each length that occurs has to: a short integer comes once in 256 signatures, a shorter one hardly ever.
const number = fc
  .tuple(fc.integer({ min: 0, max: 31 }), fc.uint8Array({ minLength: 32, maxLength: 32 }))
  .map(([zeros, bytes]) =>
    bytes.map((byte, index) => (index < zeros ? 0 : index === zeros ? byte || 1 : byte)),
  );

test('R and S of any size become 32 bytes each', () => {
  fc.assert(
    fc.property(number, number, (r, s) => {
      const content = Buffer.concat([integer(r), integer(s)]);
      const der = Buffer.concat([Buffer.of(0x30, content.length), content]);
      expect(fixedWidth(der)).toEqual(Buffer.concat([r, s]));
    }),
  );
});

test('what OpenSSL signs is verified in its other form', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = { key: createPublicKey(privateKey), dsaEncoding: 'ieee-p1363' } as const;
  for (let index = 0; index < 1000; index += 1) {
    const message = Buffer.from(String(index));
    expect(verify('sha256', message, key, fixedWidth(sign('sha256', message, privateKey)))).toBe(true);
  }
});
