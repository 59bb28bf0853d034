import type { Algorithm, PrivateJWK, PublicJWK } from '../../sidecar/contract/jwk.ts';
import { signerAt } from '../../sidecar/contract/signer.ts';
import { maxRemovedKeyIDs } from './policy.ts';

/** A signing key of a keyring. Instants are milliseconds since the Unix epoch. */
export interface KeyringKey {
  /** RFC 7638 thumbprint of the public key; of an imported key the name that its service gave it. */
  kid: string;
  algorithm: Algorithm;
  publicKey: PublicJWK;
  /** Absent where only the public part is left: such a key is published, but never signs again. */
  privateKey?: PrivateJWK;
  createdAt: number;
  /** Since when every server pod that was asked served it, without a known gap. */
  servedSince?: number;
  /** From when it signs; absent: it has never signed. Once set, only a revocation moves it. */
  activateAt?: number;
  /** From when no sidecar signs with it. Only ever moves later. */
  signUntil?: number;
  /** The longest lifetime of a token that it may ever have signed, recorded before it is distributed. */
  maxTTLMs?: number;
  /** From when every healthy verifier accepts it; set where it had to sign before it was ripe. */
  acceptedFrom?: number;
  /** When an agent Secret that makes sidecars switch to it was last confirmed to be written. */
  distributedAt?: number;
  /** The value of `spec.rotation.rotateNow` when its switch was committed, until that is over. */
  rotateNow?: string;
  /** When it leaves the JWKS; set once it no longer signs. Only ever moves later. */
  removeAt?: number;
}

/** A key that was withdrawn at once and for good. */
export interface RevokedKey {
  kid: string;
  algorithm: Algorithm;
  revokedAt: number;
  /** From when no healthy verifier accepts it. */
  safeAt: number;
  /** The same for a verifier that cannot fetch the JWKS meanwhile. */
  safeAtWorst: number;
}

/** A namespace that knew keys and may have none any more. */
export interface Deselection {
  namespace: string;
  since: number;
  /** The keys that may have been in it: they are replaced, then revoked. */
  keyIDs: string[];
}

/** All keys of an issuer: the one source of truth, from whose persisted version everything else derives. */
export interface Keyring {
  /** Goes up by one with each change of what derives from it, from the second of the keyring's making on. */
  revision: number;
  keys: KeyringKey[];
  /** The kids that once were published and no longer are, the newest of them. */
  removedKeyIDs: string[];
  /** The keys that were revoked; none of their kids ever returns. */
  revoked: RevokedKey[];
  /** The value of `spec.rotation.rotateNow` that was last acted on. */
  handledRotateNow: string;
  /** The key that the keyring began with, where it was imported. */
  importedKeyID?: string;
  /** The namespaces, the issuer's own aside, that signing keys were given to: noted before the first is written there. */
  namespaces: string[];
  /** The namespaces that signing keys were taken from, for as long as a verifier may accept those. */
  deselected: Deselection[];
}

/** A newly generated key pair. */
export interface NewKey {
  kid: string;
  publicKey: PublicJWK;
  privateKey: PrivateJWK;
}

/** A key with a private part that was given its time to sign. */
export type SigningKeyringKey = KeyringKey & {
  privateKey: PrivateJWK;
  activateAt: number;
  signUntil: number;
  maxTTLMs: number;
};

/** State of a key for people: `Next` has never signed, `Active` signs, `Retired` no longer signs. */
export type KeyState = 'Next' | 'Active' | 'Retired';

/** Whether a key was given its time to sign, and has its private part still. */
export const isSigning = (key: KeyringKey): key is SigningKeyringKey =>
  key.privateKey !== undefined && key.activateAt !== undefined;

/** The key that sidecars with current files sign with at `now`, by the sidecar's own rule. */
export function activeKey(keyring: Keyring, now: number): SigningKeyringKey | undefined {
  const [first, ...others] = keyring.keys
    .filter(isSigning)
    .map((key) => ({ ...key, warnFrom: key.signUntil, key }));
  return first && signerAt([first, ...others], now).key.key;
}

/** {@link activeKey} of a keyring that lives: one without is completed before anything else. */
export const signerOf = (keyring: Keyring, now: number): SigningKeyringKey =>
  activeKey(keyring, now) as SigningKeyringKey;

/** The key whose switch is committed and still to come. */
export const committedKey = (keyring: Keyring, now: number): SigningKeyringKey | undefined => {
  // Where no key is signing there is none to compare with it.
  const active = signerOf(keyring, now);
  return keyring.keys.filter(isSigning).find((key) => key.activateAt > now && key.kid !== active.kid);
};

/** Whether a key is unused: it waits behind the active one. */
export const isSpare = ({ privateKey, activateAt }: KeyringKey): boolean =>
  privateKey !== undefined && activateAt === undefined;

/** The unused keys behind the active one, oldest first. */
export const spareKeys = (keyring: Keyring): KeyringKey[] => keyring.keys.filter(isSpare);

/** The state of a key of the keyring at `now`. */
export function stateOf(keyring: Keyring, key: KeyringKey, now: number): KeyState {
  if (key.kid === activeKey(keyring, now)?.kid) return 'Active';
  return key.privateKey && (key.activateAt === undefined || key.activateAt > now) ? 'Next' : 'Retired';
}

/** The key that took over from one that signed, or will: the next by `activateAt`. */
export const successorOf = (
  keyring: Keyring,
  { activateAt: before = Number.POSITIVE_INFINITY }: KeyringKey,
): KeyringKey | undefined =>
  keyring.keys
    .filter(({ activateAt = before }) => activateAt > before)
    .toSorted((a, b) => (a.activateAt as number) - (b.activateAt as number))[0];

/** The kids of all keys that the keyring has, or had and remembers. */
export const knownKeyIDs = ({ keys, revoked, removedKeyIDs }: Keyring): Set<string> =>
  new Set([...[...keys, ...revoked].map(({ kid }) => kid), ...removedKeyIDs]);

/** The public keys that the keyring says are published. */
export const publicKeys = (keyring: Keyring): PublicJWK[] => keyring.keys.map((key) => key.publicKey);

/** One key for each kid, the first of each. */
export function uniteByKid<Key extends { kid: string }>(...lists: readonly (readonly Key[])[]): Key[] {
  const united = new Map<string, Key>();
  for (const key of lists.flat()) if (!united.has(key.kid)) united.set(key.kid, key);
  return [...united.values()];
}

/** The keyring with each key changed. */
export const mapKeys = (keyring: Keyring, change: (key: KeyringKey) => KeyringKey): Keyring => ({
  ...keyring,
  keys: keyring.keys.map(change),
});

/** The keyring without some keys, whose kids it remembers for long. */
export function without(keyring: Keyring, gone: (key: KeyringKey) => boolean): Keyring {
  const removed = keyring.keys.filter(gone).map(({ kid }) => kid);
  return {
    ...keyring,
    keys: keyring.keys.filter((key) => !gone(key)),
    removedKeyIDs: [...new Set([...keyring.removedKeyIDs, ...removed])].slice(-maxRemovedKeyIDs),
  };
}
