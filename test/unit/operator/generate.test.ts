import { createPrivateKey, createPublicKey, type JsonWebKey, sign, verify } from 'node:crypto';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { calculateJwkThumbprint } from 'jose';
import { decodeKeyring, encodeKeyring } from '../../../operator/plan/codec.ts';
import { generateKey } from '../../../operator/plan/generate.ts';
import type { NewKey } from '../../../operator/plan/keyring.ts';
import { algorithms, privateJWK, publicJWKS } from '../../../sidecar/contract/jwk.ts';
import { keyringOf, privateValues, t0 } from './builders.ts';

describe.each(algorithms)('a new %s key', (algorithm) => {
  let made: NewKey;
  beforeEach(async () => {
    made = await generateKey(algorithm);
  });

  test('is named by the RFC 7638 thumbprint of its public part', async () => {
    const { kid, publicKey } = made;
    expect(kid).toBe(await calculateJwkThumbprint(publicKey as JsonWebKey, 'sha256'));
    expect(publicKey).toMatchObject({ kid, alg: algorithm, use: 'sig' });
  });

  test('fits the schemas of the contract, and its public part has no private value', async () => {
    const { publicKey, privateKey } = made;
    expect(publicJWKS.parse({ keys: [publicKey] })).toEqual({ keys: [publicKey] });
    expect(privateJWK.parse(privateKey)).toEqual(privateKey);
    const values = privateValues({ privateKey });
    expect(values).toHaveLength(algorithm === 'ES256' ? 1 : 6);
    for (const value of values) expect(JSON.stringify(publicKey)).not.toContain(value);
  });

  test('signs what its public part verifies', async () => {
    const { publicKey, privateKey } = made;
    const signature = sign(
      'sha256',
      Buffer.from('probe'),
      createPrivateKey({ key: privateKey, format: 'jwk' }),
    );
    const verifier = createPublicKey({ key: publicKey as JsonWebKey, format: 'jwk' });
    expect(verify('sha256', Buffer.from('probe'), verifier, signature)).toBe(true);
    expect(verify('sha256', Buffer.from('other'), verifier, signature)).toBe(false);
  });

  test('is as strong as is promised', async () => {
    const { publicKey } = made;
    const { asymmetricKeyDetails } = createPublicKey({ key: publicKey as JsonWebKey, format: 'jwk' });
    expect(asymmetricKeyDetails).toMatchObject(
      algorithm === 'ES256' ? { namedCurve: 'prime256v1' } : { modulusLength: 2048, publicExponent: 65537n },
    );
  });

  test('can be kept and read back', async () => {
    const keyring = keyringOf({ keys: [{ ...made, algorithm, createdAt: t0 }] });
    expect(decodeKeyring(encodeKeyring(keyring))).toEqual({ keyring });
  });

  test('is another one each time', async () => {
    const other = await generateKey(algorithm);
    expect(other.kid).not.toBe(made.kid);
  });
});
