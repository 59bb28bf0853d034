import type { MintMaterial } from '../keys/material.ts';
import type { RefusalCode } from './refusals.ts';

/** A mint request that was checked: what the token will say. */
export interface MintRequest {
  /** `sub`, exactly as it was sent. */
  sender: string;
  /** `macp_scopes`, exactly as it was sent. */
  scopes: Readonly<Record<string, unknown>>;
  /** At most the maximum; may be fractional. */
  ttlSeconds: number;
}

/** The limits that a request is held against. */
export type MintLimits = Pick<MintMaterial, 'defaultTTLSeconds' | 'maxTTLSeconds'>;

/**
 * Checks the parsed body of `POST /tokens`, undefined where no JSON was sent. A TTL that is left out or null is
 * the default, one above the maximum is the maximum.
 */
export function readMintRequest(body: unknown, limits: MintLimits): MintRequest | { refused: RefusalCode } {
  const { sender, scopes = {}, ttl_seconds } = isRecord(body) ? body : {};
  if (typeof sender !== 'string' || sender.trim() === '') return { refused: 'invalid_sender' };
  if (!isRecord(scopes)) return { refused: 'invalid_scopes' };
  const ttl = ttl_seconds ?? limits.defaultTTLSeconds;
  if (typeof ttl !== 'number' || !Number.isFinite(ttl) || ttl <= 0) return { refused: 'invalid_ttl' };
  return { sender, scopes, ttlSeconds: Math.min(ttl, limits.maxTTLSeconds) };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
