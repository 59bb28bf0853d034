import type { SigningKey } from '../../sidecar/contract/files.ts';
import { type PublicJWK, publicHalf } from '../../sidecar/contract/jwk.ts';
import type { ImportOutcome } from './import.ts';
import {
  type Keyring,
  type KeyringKey,
  knownKeyIDs,
  publicKeys,
  type RevokedKey,
  uniteByKid,
} from './keyring.ts';
import {
  acceptedForMs,
  isImporting,
  type KeyPolicy,
  knownFrom,
  longestTTLMs,
  signUntilOf,
  switchAt,
} from './policy.ts';

/** What else still tells of the keys: gathered before the keyring is read, so that it never tells of a newer one. */
export interface Traces {
  /** The highest revision that status or a derived object names; 0 where none does. */
  revision: number;
  /** The kids in status, those of revoked keys aside. */
  statusKeyIDs: string[];
  /** The revoked keys in status. */
  revoked: RevokedKey[];
  /** The latest `signUntilTime` or `removalTime` in status, in milliseconds since the Unix epoch; 0 where there is none. */
  statusSignUntil: number;
  /** `status.handledRotateNow`, undefined before the first status. */
  handledRotateNow: string | undefined;
  /** `status.observedRotateNow`, undefined before the first status. */
  observedRotateNow: string | undefined;
  /** The public keys in the JWKS ConfigMap and the agent Secret, those of strangers aside. */
  published: PublicJWK[];
  /** The private keys in the agent Secrets, those of strangers aside. */
  distributed: SigningKey[];
  /** The namespaces, the issuer's own aside, whose agent Secrets hold such keys. */
  holders: string[];
}

/** What a keyring is recovered from. `now` in milliseconds since the Unix epoch. */
export interface RecoveryInput {
  policy: KeyPolicy;
  traces: Traces;
  /** The key of a migration that is under way: the old service's copy of it is as good as the keyring's. */
  imported?: ImportOutcome;
  now: number;
}

/** Whether nothing tells that there ever was a keyring. */
export const nothingTellsOfKeys = (traces: Traces): boolean =>
  traces.revision === 0 &&
  traces.statusKeyIDs.length === 0 &&
  traces.revoked.length === 0 &&
  traces.published.length === 0 &&
  traces.distributed.length === 0;

/**
 * Whether a person agreed to go on with what is left. Only a value that came since the keyring was last seen whole does:
 * neither one that was in the manifest from the start, nor one whose rotation was still to come.
 */
export const consentGiven = (policy: KeyPolicy, traces: Traces): boolean =>
  traces.observedRotateNow !== undefined &&
  policy.rotateNow !== '' &&
  policy.rotateNow !== traces.observedRotateNow;

/** Why a keyring must be an older copy or another one, or undefined when it is current. */
export function staleness(keyring: Keyring, traces: Traces): string | undefined {
  if (keyring.revision < traces.revision) {
    return `the keyring Secret has revision ${keyring.revision}, but revision ${traces.revision} was in use: it is an older copy`;
  }
  const known = knownKeyIDs(keyring);
  const told = [...traces.statusKeyIDs, ...traces.revoked.map(({ kid }) => kid)];
  const unknown = told.filter((kid) => !known.has(kid));
  if (unknown.length > 0) {
    return `the keyring Secret lacks keys that were in use (${unknown.join(', ')}): it is another keyring or an older copy`;
  }
  return undefined;
}

/**
 * A keyring of an issuer that never had one, or has none left.
 *
 * Its revisions begin above the millisecond of its making, and so above those of an earlier keyring under the same name: that
 * one too began at its millisecond, and no change of it takes less than one. Programs that run with files of it take no lower
 * revision, and nothing may be left that tells which they have. With a clock behind those changes they stay with the old
 * files until they are restarted; where something tells of them, the revision is above that whatever the clock says.
 */
export const emptyKeyring = ({ policy, traces, now }: RecoveryInput): Keyring => ({
  revision: Math.max(traces.revision, now),
  keys: [],
  removedKeyIDs: [],
  revoked: traces.revoked,
  handledRotateNow: policy.rotateNow,
  // They knew keys, whether they are selected still or not.
  namespaces: traces.holders,
  deselected: [],
});

/** Whether a private key is left to sign on with. */
export const isRecoverable = (input: RecoveryInput): boolean => heldKeys(input).length > 0;

/**
 * A keyring from what is left: what the agent Secrets hold signs on, and so does the key of a migration; what is only
 * published stays published. The importing of a key is remembered by its name.
 */
export function rebuilt(input: RecoveryInput, consented: boolean): Keyring {
  const { traces, policy } = input;
  const keys = withoutRevoked(keysLeft(input), traces.revoked);
  const handledRotateNow = consented ? policy.rotateNow : (traces.handledRotateNow ?? policy.rotateNow);
  const [first] = heldKeys(input);
  const imported = isImporting(policy) && first ? { importedKeyID: first.kid } : {};
  return {
    ...emptyKeyring(input),
    keys,
    removedKeyIDs: lostFrom(traces, keys),
    handledRotateNow,
    ...imported,
  };
}

function keysLeft(input: RecoveryInput): KeyringKey[] {
  const held = heldKeys(input).map((key) => unproven(key, input));
  const published = input.traces.published.map((key) => publishedKey(key, input));
  return uniteByKid(held, published);
}

/** An older copy of a keyring, by consent completed by what is left of the newer one. */
export function merged(input: RecoveryInput, keyring: Keyring): Keyring {
  const { traces, policy } = input;
  const others = keysLeft(input);
  const copies = keyring.keys.map((key) => notEarlier(key, others, input));
  const revoked = uniteByKid(keyring.revoked, traces.revoked);
  const keys = withoutRevoked(uniteByKid(copies, others), revoked);
  return {
    ...keyring,
    revision: Math.max(keyring.revision, traces.revision),
    keys,
    removedKeyIDs: [...new Set([...keyring.removedKeyIDs, ...lostFrom(traces, keys)])],
    revoked,
    handledRotateNow: policy.rotateNow,
    namespaces: [...new Set([...keyring.namespaces, ...traces.holders])].toSorted(),
  };
}

// What status still names, and nothing holds: without it in the list of the known, the new keyring would look stale.
const lostFrom = ({ statusKeyIDs, revoked }: Traces, keys: readonly KeyringKey[]): string[] =>
  [...statusKeyIDs, ...revoked.map(({ kid }) => kid)].filter((kid) => keys.every((key) => key.kid !== kid));

/** All public keys that may be in use: what to publish while a stale keyring waits for consent, revoked ones apart. */
export const allPublicKeys = (keyring: Keyring, { published, distributed }: Traces): PublicJWK[] =>
  uniteByKid(publicKeys(keyring), published, distributed.map(publicKeyOf));

const withoutRevoked = (keys: readonly KeyringKey[], revoked: readonly RevokedKey[]): KeyringKey[] =>
  keys.filter(({ kid }) => revoked.every((key) => key.kid !== kid));

const publicKeyOf = (key: SigningKey): PublicJWK => ({
  ...publicHalf(key.privateKey),
  kid: key.kid,
  alg: key.alg,
  use: 'sig',
});

// It signs, but may not have been published for long, or not be any more: who knew that is lost.
function unproven(key: KeyringKey, { policy, now }: RecoveryInput): KeyringKey {
  const { servedSince: _, ...unserved } = key;
  return { ...unserved, acceptedFrom: knownFrom(now, policy) };
}

// An older copy of a key must not take back what sidecars were told since, which it cannot know.
function notEarlier(key: KeyringKey, others: KeyringKey[], input: RecoveryInput): KeyringKey {
  const other = others.find(({ kid }) => kid === key.kid);
  if (other?.activateAt !== undefined) {
    const { removeAt: _, servedSince: __, ...signing } = key;
    return {
      ...signing,
      ...other,
      createdAt: key.createdAt,
      signUntil: Math.max(key.signUntil ?? 0, other.signUntil as number),
    };
  }
  const { removeAt = 0 } = publishedKey(key.publicKey, input);
  // What is a spare in the copy may have signed since: it is none any more.
  if (key.activateAt === undefined || !key.privateKey) {
    const { privateKey: _, ...published } = key;
    return { ...published, removeAt: Math.max(key.removeAt ?? 0, removeAt) };
  }
  const signUntil = Math.max(key.signUntil ?? 0, input.traces.statusSignUntil);
  return unproven({ ...key, signUntil, maxTTLMs: longestTTLMs }, input);
}

const heldKey = (key: SigningKey): KeyringKey => ({
  kid: key.kid,
  algorithm: key.alg,
  publicKey: publicKeyOf(key),
  privateKey: key.privateKey,
  createdAt: Date.parse(key.activateAt),
  activateAt: Date.parse(key.activateAt),
  signUntil: Date.parse(key.signUntil),
  // What it was allowed before today's settings is not known.
  maxTTLMs: longestTTLMs,
});

const heldKeys = (input: RecoveryInput): KeyringKey[] =>
  uniteByKid(input.traces.distributed.map(heldKey), importedKeys(input));

function importedKeys({ policy, traces, imported, now }: RecoveryInput): KeyringKey[] {
  if (!isImporting(policy) || !imported || 'problem' in imported) return [];
  const { kid } = imported.key;
  if (policy.revokedKeyIDs.includes(kid) || traces.revoked.some((key) => key.kid === kid)) return [];
  const signUntil = Math.max(signUntilOf(now, policy), traces.statusSignUntil);
  return [{ ...imported.key, createdAt: now, activateAt: now, signUntil, maxTTLMs: longestTTLMs }];
}

function publishedKey(key: PublicJWK, { traces, policy, now }: RecoveryInput): KeyringKey {
  const lastSignature = Math.max(
    signUntilOf(switchAt(now, policy), policy),
    traces.statusSignUntil,
    ...traces.distributed.map((held) => Date.parse(held.signUntil)),
  );
  return {
    kid: key.kid,
    algorithm: key.alg,
    publicKey: key,
    createdAt: now,
    removeAt: lastSignature + acceptedForMs(longestTTLMs, policy),
  };
}
