import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import type { Algorithm } from '../contract/jwk.ts';
import type { Validity } from '../contract/signer.ts';
import { fixedWidth } from './ecdsa.ts';

/** A private key that was imported and tested, ready to sign. */
export interface SigningKey extends Validity {
  kid: string;
  alg: Algorithm;
  sign: Sign;
}

/** Makes the signature of a JWS (RFC 7515 section 5.1). The key is in here, and nothing can take it out. */
type Sign = (input: Buffer) => Promise<Buffer>;

/** The public members of an RSA or EC key (RFC 7518 sections 6.2.1 and 6.3.1). */
type PublicMembers = Record<'kty' | 'n' | 'e', string> | Record<'kty' | 'crv' | 'x' | 'y', string>;

/** A private JWK that can't sign. The message is the problem alone, without any member's value. */
export class KeyError extends Error {
  override readonly name = 'KeyError';
}

/** The validity of a key that runs alone: always. */
export const unlimited: Validity = {
  activateAt: Number.NEGATIVE_INFINITY,
  signUntil: Number.POSITIVE_INFINITY,
  warnFrom: Number.POSITIVE_INFINITY,
};

const keyTypes = { RS256: 'RSA', ES256: 'EC' } as const;
const rsaMembers = ['n', 'e', 'p', 'q', 'dp', 'dq', 'qi'];
const ecMembers = ['crv', 'x', 'y'];

/**
 * Imports a private JWK (RFC 7517 section 4) for one algorithm, once, and proves that it signs what its public
 * half verifies. `use`, `key_ops` and `alg` members are not looked at, as in the reference service.
 *
 * @throws {KeyError} when it is public, symmetric, incomplete, of the wrong type or curve, shorter than
 *   RFC 7518 section 3.3 allows, or when its halves don't belong together.
 */
export function importSigningKey(
  jwk: Readonly<Record<string, unknown>>,
  alg: Algorithm,
): { sign: Sign; publicMembers: PublicMembers } {
  const privateKey = importPrivateKey(jwk, alg);
  const details = privateKey.asymmetricKeyDetails;
  if (alg === 'ES256' && details?.namedCurve !== 'prime256v1') {
    throw new KeyError('the curve of an ES256 key must be P-256');
  }
  if (alg === 'RS256' && (details?.modulusLength ?? 0) < 2048) {
    throw new KeyError(`an RS256 key must have 2048 bits or more, this one has ${details?.modulusLength}`);
  }
  const publicKey = createPublicKey(privateKey);
  if (!belongTogether(privateKey, publicKey)) {
    throw new KeyError('its private members do not belong to its public ones');
  }
  const plain = signWith(privateKey);
  return {
    sign: alg === 'ES256' ? async (input) => fixedWidth(await plain(input)) : plain,
    publicMembers: publicKey.export({ format: 'jwk' }) as PublicMembers,
  };
}

// In a thread of the pool, by Node.js itself: docs/decisions/0009-small-and-fast.md has what the other ways cost.
const signWith =
  (key: KeyObject): Sign =>
  (input) =>
    new Promise((resolve, reject) => {
      sign('sha256', input, key, (error, signature) => (error ? reject(error) : resolve(signature)));
    });

function importPrivateKey(jwk: Readonly<Record<string, unknown>>, alg: Algorithm): KeyObject {
  const kty = keyTypes[alg];
  if (jwk.kty === 'oct') throw new KeyError(`it is symmetric (kty oct), ${alg} needs kty ${kty}`);
  if (jwk.kty !== kty) throw new KeyError(`its kty must be ${kty} for ${alg}`);
  if (typeof jwk.d !== 'string') throw new KeyError('it has no private member d, so it is only a public key');
  const missing = (kty === 'RSA' ? rsaMembers : ecMembers).filter((name) => typeof jwk[name] !== 'string');
  if (missing.length > 0) throw new KeyError(`it lacks the member ${missing.join(', ')}`);
  try {
    return createPrivateKey({ format: 'jwk', key: jwk });
  } catch {
    // Not passed on as a cause: nothing promises that the library keeps values out of its messages.
    throw new KeyError(`its members are not those of a valid ${kty} key`);
  }
}

function belongTogether(privateKey: KeyObject, publicKey: KeyObject): boolean {
  const message = Buffer.from('self-test');
  try {
    return verify('sha256', message, publicKey, sign('sha256', message, privateKey));
  } catch {
    return false;
  }
}
