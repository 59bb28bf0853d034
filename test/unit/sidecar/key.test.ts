import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { importSigningKey } from '../../../sidecar/keys/key.ts';
import { privateJWK, privateValues } from './support/fixtures.ts';

const rsa = privateJWK('RS256');
const ec = privateJWK('ES256');
const without = (jwk: Record<string, string>, ...names: string[]) =>
  Object.fromEntries(Object.entries(jwk).filter(([name]) => !names.includes(name)));

describe('importing a private key', () => {
  test.each([
    ['RS256', rsa, { kty: 'RSA', n: rsa.n, e: rsa.e }],
    ['ES256', ec, { kty: 'EC', crv: 'P-256', x: ec.x, y: ec.y }],
  ] as const)(
    '%s gives its public members and a way to sign, and nothing else of the key',
    (alg, jwk, expected) => {
      expect(importSigningKey(jwk, alg)).toEqual({ publicMembers: expected, sign: expect.any(Function) });
    },
  );

  test('looks at neither use, key_ops, ext nor alg, as the reference service', () => {
    const odd = { ...ec, use: 'enc', key_ops: ['verify'], ext: false, alg: 'ES512' };
    expect(importSigningKey(odd, 'ES256').publicMembers).toMatchObject({ x: ec.x });
  });

  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey.export({ format: 'jwk' });
  const ed25519 = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  test.each([
    ['symmetric', { kty: 'oct', k: 'c2VjcmV0LW1lbWJlcg' }, 'RS256', /symmetric/],
    ['EC for RS256', ec, 'RS256', /kty must be RSA for RS256/],
    ['RSA for ES256', rsa, 'ES256', /kty must be EC for ES256/],
    ['another type', ed25519, 'ES256', /kty must be EC/],
    ['no type', {}, 'ES256', /kty must be EC/],
    ['a public RSA key', without(rsa, ...['d', 'p', 'q', 'dp', 'dq', 'qi']), 'RS256', /only a public key/],
    ['a public EC key', without(ec, 'd'), 'ES256', /only a public key/],
    [
      'RSA without primes',
      without(rsa, 'p', 'q', 'dp', 'dq', 'qi'),
      'RS256',
      /lacks the member p, q, dp, dq, qi/,
    ],
    ['EC without y', without(ec, 'y'), 'ES256', /lacks the member y/],
    ['1024 bits', privateJWK('RS256', 1024), 'RS256', /2048 bits or more, this one has 1024/],
    ['another curve', p384, 'ES256', /must be P-256/],
    ['an unknown curve', { ...ec, crv: 'P-1' }, 'ES256', /not those of a valid EC key/],
    ['a point off the curve', { ...ec, x: ec.y }, 'ES256', /not those of a valid EC key/],
    ["another key's d", { ...ec, d: privateJWK('ES256').d }, 'ES256', /do not belong to its public ones/],
    ["another key's n", { ...rsa, n: privateJWK('RS256').n }, 'RS256', /do not belong|not those of a valid/],
  ] as const)('%s is refused', (_name, jwk, alg, message) => {
    const attempt = () => importSigningKey(jwk as Record<string, unknown>, alg);
    expect(attempt).toThrow(message);
    expect(attempt).toThrow(expect.objectContaining({ name: 'KeyError' }));
    for (const value of privateValues(jwk as Record<string, string>)) {
      expect(attempt).not.toThrow(value);
    }
  });
});
