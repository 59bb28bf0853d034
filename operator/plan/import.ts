import { type AsymmetricKeyDetails, createPrivateKey } from 'node:crypto';
import type { z } from 'zod';
import { type Algorithm, privateJWK, publicHalf } from '../../sidecar/contract/jwk.ts';
import { worksWith } from './codec.ts';
import type { NewKey } from './keyring.ts';

/** An existing private key, under the name that its service gave it. */
export type ImportedKey = NewKey & { algorithm: Algorithm };

/** What a Secret named by `spec.importKey` holds, or why that cannot be imported; never a member's value. */
export type ImportOutcome = { key: ImportedKey } | { problem: string };

const leastModulusBits = 2048;

// What an item of spec.rotation.revokedKeyIDs holds.
const maxKeyIDLength = 128;

/** Reads a private JWK as `MACP_AUTH_SIGNING_KEY_JSON` takes it: without a `kid` it is `key-1`, as the reference service names it. */
export function readImportedKey(text: string): ImportOutcome {
  const jwk = parseObject(text);
  if (!jwk) return { problem: 'it is not a JSON object: it must be a private JWK' };
  if (jwk.kty === 'oct') return { problem: 'it is a symmetric key: verifiers would need the secret itself' };
  if (jwk.d === undefined) return { problem: 'it has no private part (d)' };
  const parsed = privateJWK.safeParse(jwk);
  if (!parsed.success) {
    const member = String((parsed.error.issues[0] as z.core.$ZodIssue).path[0]);
    return { problem: `its member ${member} is missing or wrong: it must be an EC P-256 or RSA private JWK` };
  }
  if (jwk.kid !== undefined && (typeof jwk.kid !== 'string' || jwk.kid === '')) {
    return { problem: 'its kid is not a text' };
  }
  if (jwk.kid !== undefined && jwk.kid.length > maxKeyIDLength) {
    return { problem: `its kid has more than ${maxKeyIDLength} characters, and could not be revoked` };
  }
  const privateKey = parsed.data;
  const algorithm = privateKey.kty === 'EC' ? 'ES256' : 'RS256';
  if (jwk.alg !== undefined && jwk.alg !== algorithm) {
    return { problem: `its alg is not ${algorithm}, the one that its kty can have here` };
  }
  const kid = jwk.kid ?? 'key-1';
  const publicKey = { ...publicHalf(privateKey), kid, alg: algorithm, use: 'sig' } as NewKey['publicKey'];
  if (!worksWith(privateKey, publicKey))
    return { problem: 'its private and public members do not belong together' };
  const { asymmetricKeyDetails } = createPrivateKey({ key: privateKey, format: 'jwk' });
  const { modulusLength: bits = leastModulusBits } = asymmetricKeyDetails as AsymmetricKeyDetails;
  if (bits < leastModulusBits) {
    return { problem: `it has ${bits} bits, and RSA keys need ${leastModulusBits}` };
  }
  return { key: { kid, algorithm, privateKey, publicKey } };
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return value && typeof value === 'object' && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
