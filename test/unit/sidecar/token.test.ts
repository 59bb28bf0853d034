import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compactVerify, importJWK } from 'jose';
import { importSigningKey, unlimited } from '../../../sidecar/keys/key.ts';
import { signToken, tokenClaims } from '../../../sidecar/mint/token.ts';
import { privateJWK, publicJWK } from './support/fixtures.ts';

const settings = { issuer: 'the-issuer', audience: 'the-audience' };
const claimsFor = (ttlSeconds: number, now = 0) =>
  tokenClaims({ sender: 's', scopes: {}, ttlSeconds }, settings, now, 'id');

describe('claims', () => {
  test('are those of the contract, and no nbf', () => {
    const request = { sender: ' s ', scopes: { a: [1] }, ttlSeconds: 60 };
    expect(tokenClaims(request, settings, 1_700_000_000_999, 'id')).toEqual({
      macp_scopes: { a: [1] },
      sub: ' s ',
      iss: 'the-issuer',
      aud: 'the-audience',
      iat: 1_700_000_000,
      exp: 1_700_000_060,
      jti: 'id',
    });
  });

  test.each([
    [0.4, 0],
    [0.5, 1],
    [1.4, 1],
    [1.5, 2],
    [2.5, 3],
    [1e-6, 0],
  ])('a TTL of %d s ends after %d s', (ttl, lifetime) => {
    expect(claimsFor(ttl).exp).toBe(lifetime);
  });

  test('a TTL under a microsecond fails, as in the reference service', () => {
    expect(() => claimsFor(1e-7)).toThrow(RangeError);
  });

  test('times are whole seconds', () => {
    const ttl = fc.double({ min: 1e-6, max: 1e9, noNaN: true });
    fc.assert(
      fc.property(ttl, fc.integer({ min: 0, max: 4e12 }), (ttlSeconds, now) => {
        const { iat, exp } = claimsFor(ttlSeconds, now);
        expect([iat, exp].every(Number.isSafeInteger)).toBe(true);
        expect(Math.abs(exp - iat - ttlSeconds)).toBeLessThanOrEqual(0.5);
      }),
    );
  });
});

describe.each(['RS256', 'ES256'] as const)('an %s token', (alg) => {
  const jwk = privateJWK(alg);
  const key = { kid: 'k', alg, ...unlimited, sign: importSigningKey(jwk, alg).sign };

  test('is verified by the public key and says exactly what it was given', async () => {
    // Parsed, so that __proto__ is a member of its own as in a request.
    const scopes = JSON.parse('{"__proto__":{"a":1},"toJSON":1,"deep":[{"x":null}],"text":"\\ud800é"}');
    const claims = tokenClaims({ sender: 's', scopes, ttlSeconds: 60 }, settings, Date.now(), 'id');
    const token = await signToken(claims, key);
    const verifier = await importJWK(publicJWK(jwk, 'k', alg), alg);
    const { payload, protectedHeader } = await compactVerify(token, verifier);
    expect(protectedHeader).toEqual({ alg, kid: 'k' });
    expect(new TextDecoder().decode(payload)).toBe(JSON.stringify(claims));
  });
});
