import * as z from 'zod';

/** The signature algorithms of this project (RFC 7518 sections 3.3 and 3.4). */
export const algorithms = ['ES256', 'RS256'] as const;
/** One of {@link algorithms}. */
export type Algorithm = (typeof algorithms)[number];

const base64url = z.string().regex(/^[A-Za-z0-9_-]+$/, 'must be base64url without padding');

const ecMembers = { kty: z.literal('EC'), crv: z.literal('P-256'), x: base64url, y: base64url };
const rsaMembers = { kty: z.literal('RSA'), n: base64url, e: base64url };
const rsaPrivateMembers = {
  d: base64url,
  p: base64url,
  q: base64url,
  dp: base64url,
  dq: base64url,
  qi: base64url,
};

/** Schema of a private JWK for ES256 or RS256 (RFC 7518 sections 6.2.2 and 6.3.2). */
export const privateJWK = z.discriminatedUnion('kty', [
  z.object({ ...ecMembers, d: base64url }),
  z.object({ ...rsaMembers, ...rsaPrivateMembers }),
]);

const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];
const named = { kid: z.string().min(1), alg: z.enum(algorithms), use: z.literal('sig') };

// Loose: a later release may add public members, and an older reader must go on serving them. What must never
// get through is private: `k` covers symmetric keys, which verifiers would use.
const publicJWK = z
  .discriminatedUnion('kty', [
    z.looseObject({ ...ecMembers, ...named }),
    z.looseObject({ ...rsaMembers, ...named }),
  ])
  .refine((jwk) => !privateMembers.some((member) => member in jwk), 'must not have a private member');

/** Schema of a non-empty JWK Set of public signing keys (RFC 7517 section 5). */
export const publicJWKS = z.object({ keys: z.array(publicJWK).min(1) });

/** A private JWK for ES256 or RS256. */
export type PrivateJWK = z.infer<typeof privateJWK>;
/** A public JWK as it is published: `kty`, the public members, `kid`, `alg` and `use`. */
export type PublicJWK = z.infer<typeof publicJWK>;
/** A JWK Set of {@link PublicJWK}s, never empty. */
export type PublicJWKS = z.infer<typeof publicJWKS>;

type Unnamed<T> = T extends unknown ? Omit<T, 'kid' | 'alg' | 'use'> : never;

/** The public members of a private JWK, and nothing else. */
export function publicHalf(
  key: PrivateJWK,
): Unnamed<{ kty: 'EC'; crv: 'P-256'; x: string; y: string } | { kty: 'RSA'; n: string; e: string }> {
  return key.kty === 'EC'
    ? { kty: key.kty, crv: key.crv, x: key.x, y: key.y }
    : { kty: key.kty, n: key.n, e: key.e };
}
