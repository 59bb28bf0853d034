import { createHash } from 'node:crypto';

// SHA-256 in base64url.
const thumbprintLength = 43;

/** The members of a public key of which its thumbprint is made; of others than EC and RSA keys none. */
export interface PublicMembers {
  kty?: unknown;
  crv?: unknown;
  x?: unknown;
  y?: unknown;
  n?: unknown;
  e?: unknown;
}

// The required members in lexicographic order.
const requiredMembers = ({ kty, crv, x, y, n, e }: PublicMembers): string =>
  JSON.stringify(kty === 'EC' ? { crv, kty, x, y } : { e, kty, n });

/** The SHA-256 thumbprint of a public key (RFC 7638 section 3), in base64url. */
export const thumbprint = (key: PublicMembers): string =>
  createHash('sha256').update(requiredMembers(key)).digest('base64url');

/** Whether two keys have the same public part, whatever their names. */
export const isSameKey = (a: PublicMembers, b: PublicMembers): boolean =>
  requiredMembers(a) === requiredMembers(b);

/**
 * Whether nobody can have put another key under this name: a `kid` that looks like an RFC 7638 thumbprint has to be
 * the key's. A name that was given by hand proves nothing.
 */
export const isGenuine = (key: PublicMembers & { kid: string }): boolean =>
  key.kid.length !== thumbprintLength || thumbprint(key) === key.kid;
