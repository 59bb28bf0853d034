import { createHash } from 'node:crypto';
import type { PublicJWK } from '../../sidecar/contract/jwk.ts';

// SHA-256 in base64url.
const thumbprintLength = 43;

/**
 * Whether nobody can have put another key under this name: a `kid` that looks like an RFC 7638 thumbprint has to be
 * the key's. A name that was given by hand proves nothing.
 */
export function isGenuine(key: PublicJWK): boolean {
  if (key.kid.length !== thumbprintLength) return true;
  // The required members in lexicographic order (RFC 7638 section 3.2).
  const members =
    key.kty === 'EC'
      ? { crv: key.crv, kty: key.kty, x: key.x, y: key.y }
      : { e: key.e, kty: key.kty, n: key.n };
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url') === key.kid;
}
