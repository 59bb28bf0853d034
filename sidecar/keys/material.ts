import { createHash } from 'node:crypto';
import type { Grant } from '../contract/grants.ts';
import type { SigningKey } from './key.ts';

/** The JWK Set as it is served. */
export interface ServedJWKS {
  /** The text of the answer. */
  body: string;
  /** Strong validator (RFC 9110 section 8.8.3), with its quotes. */
  etag: string;
  maxAgeSeconds: number;
  kids: readonly string[];
}

/** What minting needs. TTLs are in seconds. */
export interface MintMaterial {
  issuer: string;
  audience: string;
  defaultTTLSeconds: number;
  maxTTLSeconds: number;
  /** Undefined: any sender and any scopes. Empty: nobody may mint. */
  grants?: readonly Grant[] | undefined;
  keys: readonly [SigningKey, ...SigningKey[]];
}

/** One consistent version of everything that requests are answered from. */
export interface Material {
  /** The keyring's revision; undefined when there is no operator. */
  revision: number | undefined;
  jwks: ServedJWKS;
  /** Undefined where the program only publishes. */
  mint: MintMaterial | undefined;
}

/** Prepares a JWK Set for serving; `body` must be the text of a set with these `kids`. */
export function servedJWKS(body: string, kids: readonly string[], maxAgeSeconds: number): ServedJWKS {
  const etag = `"${createHash('sha256').update(body).digest('base64url')}"`;
  return { body, etag, maxAgeSeconds, kids };
}
