import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readMintRequest } from '../../../sidecar/mint/request.ts';

const limits = { defaultTTLSeconds: 300, maxTTLSeconds: 3600 };

describe('a mint request', () => {
  test.each([
    ['sender alone', { sender: 'a' }, { sender: 'a', scopes: {}, ttlSeconds: 300 }],
    ['sender is not trimmed', { sender: ' a ' }, { sender: ' a ', scopes: {}, ttlSeconds: 300 }],
    [
      'null TTL is the default',
      { sender: 'a', ttl_seconds: null },
      { sender: 'a', scopes: {}, ttlSeconds: 300 },
    ],
    ['fractional TTL', { sender: 'a', ttl_seconds: 1.5 }, { sender: 'a', scopes: {}, ttlSeconds: 1.5 }],
    ['clamped TTL', { sender: 'a', ttl_seconds: 1e300 }, { sender: 'a', scopes: {}, ttlSeconds: 3600 }],
    ['TTL at the maximum', { sender: 'a', ttl_seconds: 3600 }, { sender: 'a', scopes: {}, ttlSeconds: 3600 }],
    [
      'scopes as they are',
      { sender: 'a', scopes: { x: [null] } },
      { sender: 'a', scopes: { x: [null] }, ttlSeconds: 300 },
    ],
    ['unknown members are ignored', { sender: 'a', y: 1 }, { sender: 'a', scopes: {}, ttlSeconds: 300 }],
  ])('%s', (_name, body, expected) => {
    expect(readMintRequest(body, limits)).toEqual(expected);
  });

  test.each([
    ['no body', undefined, 'invalid_sender'],
    ['an array', [], 'invalid_sender'],
    ['no sender', {}, 'invalid_sender'],
    ...['', '  ', '\t\n\u00a0\ufeff', 42, null, true, {}, ['a']].map(
      (sender) => [`sender ${JSON.stringify(sender)}`, { sender }, 'invalid_sender'] as const,
    ),
    ...['x', [], [{}], 7, false, null].map(
      (scopes) => [`scopes ${JSON.stringify(scopes)}`, { sender: 'a', scopes }, 'invalid_scopes'] as const,
    ),
    ...[
      0,
      -0,
      -5,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
      '60',
      '',
      true,
      [],
      {},
    ].map((ttl) => [`ttl_seconds ${String(ttl)}`, { sender: 'a', ttl_seconds: ttl }, 'invalid_ttl'] as const),
    ['sender is judged first', { sender: ' ', scopes: null, ttl_seconds: 0 }, 'invalid_sender'],
    ['scopes before the TTL', { sender: 'a', scopes: null, ttl_seconds: 0 }, 'invalid_scopes'],
  ] as const)('%s is refused', (_name, body, reason) => {
    expect(readMintRequest(body, limits)).toEqual({ refused: reason });
  });

  test('a default above the maximum is clamped', () => {
    const request = readMintRequest({ sender: 'a' }, { defaultTTLSeconds: 900, maxTTLSeconds: 60 });
    expect(request).toMatchObject({ ttlSeconds: 60 });
  });

  test('any JSON at all is refused by name, or accepted verbatim within the limit', () => {
    const body = fc.oneof(
      fc.jsonValue(),
      fc.record(
        { sender: fc.jsonValue(), scopes: fc.jsonValue(), ttl_seconds: fc.jsonValue() },
        { requiredKeys: [] },
      ),
      fc.record({
        sender: fc.string(),
        scopes: fc.dictionary(fc.string(), fc.jsonValue()),
        ttl_seconds: fc.double(),
      }),
    );
    fc.assert(
      fc.property(body, (value) => {
        const result = readMintRequest(value, limits);
        if ('refused' in result) return;
        const sent = value as Record<string, unknown>;
        expect(result.sender).toBe(sent.sender);
        expect(result.scopes).toEqual(sent.scopes ?? {});
        expect(result.ttlSeconds).toBeGreaterThan(0);
        expect(result.ttlSeconds).toBeLessThanOrEqual(3600);
      }),
    );
  });
});
