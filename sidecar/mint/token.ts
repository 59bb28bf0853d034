import type { SigningKey } from '../keys/key.ts';
import type { MintMaterial } from '../keys/material.ts';
import type { MintRequest } from './request.ts';

/** The claims of a token (RFC 7519 section 4.1), and the runtime's own `macp_scopes`. */
export interface TokenClaims {
  macp_scopes: Readonly<Record<string, unknown>>;
  sub: string;
  iss: string;
  aud: string;
  /** Whole seconds since the epoch. */
  iat: number;
  /** Whole seconds since the epoch. */
  exp: number;
  jti: string;
}

// Below it the reference service writes the TTL with an exponent, trips over that, and answers 500.
const shortestTTLSeconds = 1e-6;

/**
 * The claims for a checked request. There is no `nbf`: the clocks of verifiers differ.
 *
 * @param now milliseconds since the epoch.
 * @throws {RangeError} when the TTL is under a microsecond, as the reference service fails there.
 */
export function tokenClaims(
  { sender, scopes, ttlSeconds }: MintRequest,
  { issuer, audience }: Pick<MintMaterial, 'issuer' | 'audience'>,
  now: number,
  jti: string,
): TokenClaims {
  if (ttlSeconds < shortestTTLSeconds) throw new RangeError('the TTL is under a microsecond');
  const iat = Math.floor(now / 1000);
  const exp = iat + Math.round(ttlSeconds);
  return { macp_scopes: scopes, sub: sender, iss: issuer, aud: audience, iat, exp, jti };
}

/** Signs claims as a compact JWS (RFC 7515 section 7.1) whose header is `alg` and `kid` alone. */
export async function signToken(claims: TokenClaims, { alg, kid, sign }: SigningKey): Promise<string> {
  const input = `${base64url(JSON.stringify({ alg, kid }))}.${base64url(JSON.stringify(claims))}`;
  return `${input}.${(await sign(Buffer.from(input))).toString('base64url')}`;
}

const base64url = (text: string): string => Buffer.from(text).toString('base64url');
