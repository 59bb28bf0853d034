import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { z } from 'zod';
import {
  algorithms,
  type PrivateJWK,
  type PublicJWK,
  privateJWK,
  publicHalf,
  publicJWKS,
} from '../../sidecar/contract/jwk.ts';
import type { Keyring, KeyringKey } from './keyring.ts';

/** Name of the keyring's member in the Secret's data. */
export const keyringFile = 'keyring.json';

const instant = z.iso.datetime({ offset: true });

const storedKey = z.object({
  kid: z.string().min(1),
  algorithm: z.enum(algorithms),
  publicKey: publicJWKS.shape.keys.element,
  privateKey: privateJWK.optional(),
  createdAt: instant,
  activateAt: instant.optional(),
  signUntil: instant.optional(),
  maxTTLSeconds: z.number().positive().optional(),
  removeAt: instant.optional(),
});

const storedKeyring = z.object({
  formatVersion: z.literal(1),
  revision: z.number().int().positive(),
  keys: z
    .array(storedKey)
    .min(1)
    .refine((keys) => new Set(keys.map(({ kid }) => kid)).size === keys.length, 'has a kid twice'),
  removedKeyIDs: z.array(z.string()),
  handledRotateNow: z.string(),
});

const toRFC3339 = (ms: number): string => new Date(ms).toISOString();
const optional = <T, U>(value: T | undefined, map: (value: T) => U): U | undefined =>
  value === undefined ? undefined : map(value);

/** The keyring as the text that the Secret holds; instants in RFC 3339. */
export function encodeKeyring(keyring: Keyring): string {
  const { revision, removedKeyIDs, handledRotateNow } = keyring;
  const keys = keyring.keys.map(({ maxTTLMs, ...key }) => ({
    ...key,
    createdAt: toRFC3339(key.createdAt),
    activateAt: optional(key.activateAt, toRFC3339),
    signUntil: optional(key.signUntil, toRFC3339),
    maxTTLSeconds: optional(maxTTLMs, (ms) => ms / 1000),
    removeAt: optional(key.removeAt, toRFC3339),
  }));
  return JSON.stringify({ formatVersion: 1, revision, keys, removedKeyIDs, handledRotateNow });
}

/** A keyring, or what is wrong with the text that should be one; the problem names members, never their values. */
export type DecodedKeyring = { keyring: Keyring } | { problem: string };

/** Reads what {@link encodeKeyring} wrote, and checks that each private key belongs to its public one. */
export function decodeKeyring(text: string | undefined): DecodedKeyring {
  if (text === undefined) return { problem: `it has no data.${keyringFile}` };
  const value = parseJSON(text);
  if (value === undefined) return { problem: `data.${keyringFile} is not JSON` };
  const parsed = storedKeyring.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return {
      problem: `data.${keyringFile}: ${issue?.path.join('.') || 'the whole'} ${issue?.message.toLowerCase()}`,
    };
  }
  const { revision, removedKeyIDs, handledRotateNow } = parsed.data;
  const mismatch = parsed.data.keys.findIndex((key) => !belongTogether(key));
  if (mismatch >= 0) {
    return {
      problem: `data.${keyringFile}: keys.${mismatch} private key, public key, kid and algorithm do not belong together`,
    };
  }
  const keys = parsed.data.keys.map(({ maxTTLSeconds, ...key }): KeyringKey => {
    const times = {
      activateAt: optional(key.activateAt, Date.parse),
      signUntil: optional(key.signUntil, Date.parse),
      maxTTLMs: optional(maxTTLSeconds, (seconds) => Math.round(seconds * 1000)),
      removeAt: optional(key.removeAt, Date.parse),
    };
    return {
      ...withoutUndefined(key),
      createdAt: Date.parse(key.createdAt),
      ...withoutUndefined(times),
    } as KeyringKey;
  });
  return { keyring: { revision, keys, removedKeyIDs, handledRotateNow } };
}

function withoutUndefined<T extends object>(object: T): Partial<T> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Partial<T>;
}

function parseJSON(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const keyTypes = { ES256: 'EC', RS256: 'RSA' } as const;

function belongTogether(key: z.infer<typeof storedKey>): boolean {
  const { publicKey, privateKey } = key;
  if (
    publicKey.kid !== key.kid ||
    publicKey.alg !== key.algorithm ||
    publicKey.kty !== keyTypes[key.algorithm]
  )
    return false;
  if (!privateKey) return true;
  const claimed = publicHalf(privateKey);
  if (Object.entries(claimed).some(([member, value]) => publicKey[member] !== value)) return false;
  return worksWith(privateKey, publicKey);
}

// The members may agree although `d` was damaged: only a signature tells.
function worksWith(privateKey: PrivateJWK, publicKey: PublicJWK): boolean {
  try {
    const data = Buffer.from('probe');
    const signature = sign('sha256', data, createPrivateKey({ key: privateKey, format: 'jwk' }));
    return verify('sha256', data, createPublicKey({ key: publicKey, format: 'jwk' }), signature);
  } catch {
    return false;
  }
}
