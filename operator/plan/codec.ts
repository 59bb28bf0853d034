import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { z } from 'zod';
import {
  algorithms,
  type PrivateJWK,
  type PublicJWK,
  privateJWK,
  publicHalf,
  publicJWKS,
} from '../../sidecar/contract/jwk.ts';
import type { Deselection, Keyring, KeyringKey, RevokedKey } from './keyring.ts';

/** Name of the keyring's member in the Secret's data. */
export const keyringFile = 'keyring.json';

const instant = z.iso.datetime({ offset: true });

const storedKey = z.object({
  kid: z.string().min(1),
  algorithm: z.enum(algorithms),
  publicKey: publicJWKS.shape.keys.element,
  privateKey: privateJWK.optional(),
  createdAt: instant,
  servedSince: instant.optional(),
  activateAt: instant.optional(),
  signUntil: instant.optional(),
  maxTTLSeconds: z.number().positive().optional(),
  acceptedFrom: instant.optional(),
  distributedAt: instant.optional(),
  rotateNow: z.string().optional(),
  removeAt: instant.optional(),
});

const storedRevocation = z.object({
  kid: z.string().min(1),
  algorithm: z.enum(algorithms),
  revokedAt: instant,
  safeAt: instant,
  safeAtWorst: instant,
});

const storedDeselection = z.object({
  namespace: z.string().min(1),
  since: instant,
  keyIDs: z.array(z.string()),
});

const storedKeyring = z.object({
  formatVersion: z.literal(1),
  revision: z.number().int().positive(),
  keys: z
    .array(storedKey)
    .min(1)
    .refine((keys) => new Set(keys.map(({ kid }) => kid)).size === keys.length, 'has a kid twice'),
  removedKeyIDs: z.array(z.string()),
  revoked: z.array(storedRevocation),
  handledRotateNow: z.string(),
  importedKeyID: z.string().optional(),
  namespaces: z.array(z.string()).default([]),
  deselected: z.array(storedDeselection).default([]),
});

const toRFC3339 = (ms: number): string => new Date(ms).toISOString();

const keyTimes = [
  'createdAt',
  'servedSince',
  'activateAt',
  'signUntil',
  'acceptedFrom',
  'distributedAt',
  'removeAt',
];
const revocationTimes = ['revokedAt', 'safeAt', 'safeAtWorst'];
const deselectionTimes = ['since'];

// Members that are absent stay absent: an explicit undefined would make equal keyrings differ.
function mapTimes<From>(
  object: object,
  times: readonly string[],
  map: (time: From) => unknown,
): Record<string, unknown> {
  const present = Object.entries(object).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    present.map(([name, value]) => [name, times.includes(name) ? map(value) : value]),
  );
}

/** The keyring as the text that the Secret holds; instants in RFC 3339. */
export function encodeKeyring(keyring: Keyring): string {
  const { revision, removedKeyIDs, handledRotateNow, importedKeyID, namespaces } = keyring;
  const deselected = keyring.deselected.map((one) => mapTimes(one, deselectionTimes, toRFC3339));
  const revoked = keyring.revoked.map((key) => mapTimes(key, revocationTimes, toRFC3339));
  const keys = keyring.keys.map(({ maxTTLMs, ...key }) => ({
    ...mapTimes(key, keyTimes, toRFC3339),
    ...(maxTTLMs !== undefined && { maxTTLSeconds: maxTTLMs / 1000 }),
  }));
  return JSON.stringify({
    formatVersion: 1,
    revision,
    keys,
    removedKeyIDs,
    revoked,
    handledRotateNow,
    importedKeyID,
    namespaces,
    deselected,
  });
}

/** A keyring, or what is wrong with the text that should be one; the problem names members, never their values. */
export type DecodedKeyring = { keyring: Keyring } | { problem: string };

/** Reads what {@link encodeKeyring} wrote, and checks that each private key belongs to its public one. */
export function decodeKeyring(text: string | undefined): DecodedKeyring {
  if (text === undefined) return { problem: `it has no data.${keyringFile}` };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { problem: `data.${keyringFile} is not JSON` };
  }
  const parsed = storedKeyring.safeParse(value);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0] as z.core.$ZodIssue;
    return { problem: `data.${keyringFile}: ${path.join('.') || 'the whole'} ${message.toLowerCase()}` };
  }
  const { revision, removedKeyIDs, handledRotateNow } = parsed.data;
  const mismatch = parsed.data.keys.findIndex((key) => !belongTogether(key));
  if (mismatch >= 0) {
    return {
      problem: `data.${keyringFile}: keys.${mismatch} private key, public key, kid and algorithm do not belong together`,
    };
  }
  const keys = parsed.data.keys.map(({ maxTTLSeconds, ...key }) => ({
    ...mapTimes(key, keyTimes, Date.parse),
    ...(maxTTLSeconds !== undefined && { maxTTLMs: Math.round(maxTTLSeconds * 1000) }),
  })) as KeyringKey[];
  const revoked = parsed.data.revoked.map((key) =>
    mapTimes(key, revocationTimes, Date.parse),
  ) as unknown as RevokedKey[];
  const deselected = parsed.data.deselected.map((one) =>
    mapTimes(one, deselectionTimes, Date.parse),
  ) as unknown as Deselection[];
  const { importedKeyID, namespaces } = parsed.data;
  const imported = importedKeyID === undefined ? {} : { importedKeyID };
  return {
    keyring: {
      revision,
      keys,
      removedKeyIDs,
      revoked,
      handledRotateNow,
      ...imported,
      namespaces,
      deselected,
    },
  };
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

// SHA-256 of pairs that work. An operator looks at each keyring each minute, and a signature takes longer than all else.
const proven = new Set<string>();
const maxProven = 10_000;

/** Whether a signature of the private key verifies with the public one: members may agree although `d` was damaged. */
export function worksWith(privateKey: PrivateJWK, publicKey: PublicJWK): boolean {
  const pair = createHash('sha256')
    .update(JSON.stringify([privateKey, publicKey]))
    .digest('base64');
  if (proven.has(pair)) return true;
  if (!signsFor(privateKey, publicKey)) return false;
  const [oldest = pair] = proven;
  // If it is needed still, it is proven once more.
  if (proven.size >= maxProven) proven.delete(oldest);
  proven.add(pair);
  return true;
}

function signsFor(privateKey: PrivateJWK, publicKey: PublicJWK): boolean {
  try {
    const data = Buffer.alloc(8);
    const signature = sign('sha256', data, createPrivateKey({ key: privateKey, format: 'jwk' }));
    return verify('sha256', data, createPublicKey({ key: publicKey, format: 'jwk' }), signature);
  } catch {
    return false;
  }
}
