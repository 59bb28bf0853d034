import { describe, expect, test } from '@jest/globals';
import { parseFiles } from '../../../sidecar/keys/mounted.ts';
import {
  asText,
  type Files,
  keyEntry,
  keyFixture,
  mintFiles,
  mintSettings,
  privateJWK,
  privateValues,
  publicJWK,
  publishFiles,
} from './support/fixtures.ts';

const a = keyFixture('a');
const b = keyFixture('b', { alg: 'RS256' });

const text = (files: Files, name: string) => (files[name] === undefined ? undefined : asText(files[name]));
const parse = (files: Files) =>
  parseFiles({
    keys: text(files, 'keys.json'),
    jwks: text(files, 'jwks.json'),
    settings: text(files, 'settings.json'),
  });

describe('good files', () => {
  test('of a mint', () => {
    const files = mintFiles([a, b]);
    const material = parse(files);
    expect(material).toMatchObject({
      revision: 1,
      jwks: { body: asText(files['jwks.json']), maxAgeSeconds: 30, kids: ['a', 'b'] },
      mint: {
        issuer: 'issuer-of-files',
        audience: 'audience-of-files',
        defaultTTLSeconds: 120,
        maxTTLSeconds: 600,
      },
    });
    const { kid, alg, activateAt, signUntil, warnFrom } = b;
    expect(material.mint?.keys[1]).toMatchObject({ kid, alg, activateAt, signUntil, warnFrom });
  });

  test('of a publisher', () => {
    expect(parse(publishFiles([a], 7))).toMatchObject({
      revision: 7,
      jwks: { kids: ['a'] },
      mint: undefined,
    });
  });

  test('of a newer operator, with members that this release does not know', () => {
    const files = mintFiles([a]);
    const newer = {
      'keys.json': { keys: [{ ...keyEntry(a), colour: 'red' }], more: 1 },
      'jwks.json': { keys: [{ ...publicJWK(a.jwk, 'a', 'ES256'), x5t: 'abc' }], more: 1 },
      'settings.json': { ...(files['settings.json'] as object), more: { x: 1 } },
    };
    expect(parse(newer).mint?.keys).toHaveLength(1);
    expect(parse(newer).jwks.body).toContain('x5t');
  });

  test('of a key that was imported with a leading zero in its modulus, as some libraries write it', () => {
    const modulus = Buffer.concat([Buffer.of(0), Buffer.from(b.jwk.n ?? '', 'base64url')]);
    const imported = { ...b, jwk: { ...b.jwk, n: modulus.toString('base64url') } };
    expect(parse(mintFiles([imported])).jwks.body).toContain(modulus.toString('base64url'));
  });

  test('the JWK Set has a validator of its content', () => {
    const etag = (files: Files) => parse(files).jwks.etag;
    expect(etag(publishFiles([a]))).toMatch(/^"[\w-]{43}"$/);
    expect(etag(publishFiles([a]))).toBe(etag(publishFiles([a], 2)));
    expect(etag(publishFiles([a]))).not.toBe(etag(publishFiles([a, b])));
  });
});

describe('a broken file is refused by name, member and fix:', () => {
  const good = mintFiles([a]);
  const key = keyEntry(a);
  const other = privateJWK('ES256');
  const keys = (changes: object) => ({ ...good, 'keys.json': { keys: [{ ...key, ...changes }] } });
  const jwks = (changes: object) => ({
    ...good,
    'jwks.json': { keys: [{ ...publicJWK(a.jwk, 'a', 'ES256'), ...changes }] },
  });
  const settings = (changes: object) => ({ ...good, 'settings.json': { ...mintSettings, ...changes } });
  const without = (name: string) => ({ ...good, [name]: undefined });

  test.each<[string, Files, RegExp]>([
    ['no settings', without('settings.json'), /^settings\.json: is missing; mount the whole Secret/],
    ['no JWKS', without('jwks.json'), /^jwks\.json: is missing/],
    ['no keys', without('keys.json'), /^keys\.json: is missing/],
    [
      'not JSON',
      { ...good, 'keys.json': `{"d":"${a.jwk.d}` },
      /^keys\.json: is not valid JSON; let the operator/,
    ],
    ['empty', { ...good, 'jwks.json': '' }, /^jwks\.json: is not valid JSON/],
    ['an array', { ...good, 'settings.json': [] }, /^settings\.json: its content: /],
    ['no such role', settings({ role: 'sign' }), /^settings\.json: role: /],
    ['revision 0', settings({ revision: 0 }), /^settings\.json: revision: /],
    ['TTL 0', settings({ maxTTLSeconds: 0 }), /^settings\.json: maxTTLSeconds: /],
    ['no issuer', settings({ issuer: '' }), /^settings\.json: issuer: /],
    ['no keys in it', { ...good, 'keys.json': { keys: [] } }, /^keys\.json: keys: /],
    [
      'a kid twice',
      { ...good, 'keys.json': { keys: [key, key] } },
      /^keys\.json: keys: each kid may occur once/,
    ],
    ['not an instant', keys({ signUntil: 'tomorrow' }), /^keys\.json: keys\[0\]\.signUntil: /],
    ['no d', keys({ privateKey: { ...a.jwk, d: undefined } }), /^keys\.json: keys\[0\]\.privateKey\.d: /],
    [
      'symmetric',
      keys({ privateKey: { kty: 'oct', k: a.jwk.d } }),
      /^keys\.json: keys\[0\]\.privateKey\.kty: /,
    ],
    [
      'type and alg differ',
      keys({ alg: 'RS256' }),
      /^keys\.json: keys\[0\] \(kid "a"\): its kty must be RSA/,
    ],
    [
      'halves differ',
      keys({ privateKey: { ...a.jwk, d: other.d } }),
      /^keys\.json: keys\[0\] .*do not belong/,
    ],
    [
      'unpublished',
      keys({ kid: 'z' }),
      /^keys\.json: keys\[0\] \(kid "z"\): jwks\.json does not have its public half/,
    ],
    [
      'another published',
      keys({ privateKey: other }),
      /^keys\.json: .*jwks\.json does not have its public half/,
    ],
    [
      'a private member in public',
      jwks({ d: a.jwk.d }),
      /^jwks\.json: keys\[0\]: must not have a private member/,
    ],
    ['a symmetric key in public', jwks({ kty: 'oct', k: 'x' }), /^jwks\.json: keys\[0\]\.kty: /],
    ['no public keys', { ...good, 'jwks.json': { keys: [] } }, /^jwks\.json: keys: /],
    [
      'keys at a publisher',
      { ...publishFiles([a]), 'keys.json': { keys: [key] } },
      /^keys\.json: must not be there/,
    ],
  ])('%s', (_name, files, message) => {
    expect(() => parse(files)).toThrow(message);
    expect(() => parse(files)).toThrow(/; [a-z]/);
    for (const value of [...privateValues(a.jwk), ...privateValues(other)]) {
      expect(() => parse(files)).not.toThrow(value);
    }
  });
});
