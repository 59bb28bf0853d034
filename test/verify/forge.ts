import { exportJWK, generateKeyPair, importJWK, type JWK, type JWTPayload, SignJWT } from 'jose';
import type { Algorithm } from '../../sidecar/contract/jwk.ts';

/** A private JWK with the members that a token's header names. */
export type NamedKey = JWK & { kid: string; alg: Algorithm };

/** Makes a private key, as `MACP_AUTH_SIGNING_KEY_JSON` takes it. */
export async function newKey(alg: Algorithm, kid: string): Promise<NamedKey> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), kid, alg };
}

/** The public part of a key, as a JWKS publishes it. */
export function publicPart({ kty, n, e, crv, x, y, kid, alg }: NamedKey): JWK {
  return JSON.parse(JSON.stringify({ kty, n, e, crv, x, y, kid, alg, use: 'sig' }));
}

/** Signs any claims with any key: the tokens that our own programs never make. */
export async function sign(key: NamedKey, claims: JWTPayload, kid = key.kid): Promise<string> {
  const { alg } = key;
  return await new SignJWT(claims).setProtectedHeader({ alg, kid }).sign(await importJWK(key, alg));
}

/** The token with other claims and the old signature. */
export function tamper(token: string, change: (claims: JWTPayload) => JWTPayload): string {
  const [header, payload, signature] = token.split('.');
  const claims = JSON.parse(Buffer.from(payload ?? '', 'base64url').toString());
  return [header, Buffer.from(JSON.stringify(change(claims))).toString('base64url'), signature].join('.');
}
