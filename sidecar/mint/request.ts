import type { MintMaterial } from '../keys/material.ts';
import type { Bounds } from './grant.ts';
import type { Refusal } from './refusals.ts';
import { boundScopes, isLeftOut } from './scopes.ts';

/** A mint request that was checked: what the token will say. */
export interface MintRequest {
  /** `sub`, exactly as it was sent or as the grant pins it. */
  sender: string;
  /** `macp_scopes`, exactly as it was sent; under a grant, with all its members. */
  scopes: Readonly<Record<string, unknown>>;
  /** At most the maximum; may be fractional. */
  ttlSeconds: number;
}

/** The limits that a request is held against. */
export type MintLimits = Pick<MintMaterial, 'defaultTTLSeconds' | 'maxTTLSeconds'>;

/** A well-formed body; undefined is what was left out. */
interface Asked {
  sender: string | undefined;
  scopes: Readonly<Record<string, unknown>>;
  ttlSeconds: number | undefined;
}

/**
 * Checks the parsed body of `POST /tokens`, undefined where no JSON was sent. A TTL that is left out or null is
 * the default, one above the maximum is the maximum.
 *
 * @param bounds of the caller's grant, undefined where there are no grants. Beyond them the request is refused;
 *   what it leaves out is what the grant has.
 */
export function readMintRequest(body: unknown, limits: MintLimits, bounds?: Bounds): MintRequest | Refusal {
  const asked = readBody(body, bounds?.sender !== undefined);
  if ('refused' in asked) return asked;
  return bounds === undefined ? unbounded(asked, limits) : bound(asked, limits, bounds);
}

// Only an object may leave the sender out: what was sent as anything else was not looked at, and what it asked for,
// less than the grant perhaps, is not known.
function readBody(body: unknown, senderIsPinned: boolean): Asked | Refusal {
  const { sender, scopes = {}, ttl_seconds } = isRecord(body) ? body : {};
  const mayBeLeftOut = senderIsPinned && isRecord(body);
  if (!(isText(sender) || (mayBeLeftOut && isLeftOut(sender)))) return { refused: 'invalid_sender' };
  if (!isRecord(scopes)) return { refused: 'invalid_scopes' };
  if (!(isPositive(ttl_seconds) || isLeftOut(ttl_seconds))) return { refused: 'invalid_ttl' };
  return { sender: sender ?? undefined, scopes, ttlSeconds: ttl_seconds ?? undefined };
}

function unbounded({ sender = '', scopes, ttlSeconds }: Asked, limits: MintLimits): MintRequest {
  const ttl = ttlSeconds ?? limits.defaultTTLSeconds;
  return { sender, scopes, ttlSeconds: Math.min(ttl, limits.maxTTLSeconds) };
}

function bound(asked: Asked, limits: MintLimits, bounds: Bounds): MintRequest | Refusal {
  const { sender = bounds.sender ?? '', ttlSeconds = limits.defaultTTLSeconds } = asked;
  if (bounds.sender !== undefined && sender !== bounds.sender) {
    return {
      refused: 'sender_not_granted',
      detail: `it must be ${JSON.stringify(bounds.sender)} or left out`,
    };
  }
  const scopes = boundScopes(asked.scopes, bounds.scopes ?? {});
  if ('refused' in scopes) return scopes;
  const { maxTTLSeconds = Number.POSITIVE_INFINITY } = bounds;
  if (asked.ttlSeconds !== undefined && asked.ttlSeconds > maxTTLSeconds) {
    return { refused: 'ttl_not_granted', detail: `it must be at most ${maxTTLSeconds}` };
  }
  return {
    sender,
    scopes,
    ttlSeconds: Math.min(ttlSeconds, maxTTLSeconds, limits.maxTTLSeconds),
  };
}

const isText = (value: unknown): value is string => typeof value === 'string' && value.trim() !== '';

const isPositive = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value > 0;

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
