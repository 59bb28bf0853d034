import {
  createLocalJWKSet,
  decodeProtectedHeader,
  type JSONWebKeySet,
  type JWTPayload,
  jwtVerify,
} from 'jose';

/** A token decoded, beside the published key that verifies it. */
export interface VerifiedToken {
  token: string;
  header: object;
  claims: JWTPayload;
  key: object;
}

/**
 * Mints a token at a sidecar, and verifies it with the keys that the JWKS server publishes.
 *
 * @throws Error when either cannot be reached, or the token is not good
 */
export async function mintAndVerify(mintURL: string, jwksURL: string): Promise<VerifiedToken> {
  const answer = await fetchJSON(mintURL, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sender: 'agent://sample', scopes: { can_start_sessions: true } }),
  });
  const { token } = answer as { token: string };
  const jwks = (await fetchJSON(jwksURL)) as JSONWebKeySet;
  const { payload } = await jwtVerify(token, createLocalJWKSet(jwks));
  const header = decodeProtectedHeader(token);
  const key = jwks.keys.find(({ kid }) => kid === header.kid);
  return { token, header, claims: payload, key: key as object };
}

async function fetchJSON(url: string, init: RequestInit = {}): Promise<unknown> {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  return response.json();
}
