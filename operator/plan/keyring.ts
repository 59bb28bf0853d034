import type { Algorithm, PrivateJWK, PublicJWK } from '../../sidecar/contract/jwk.ts';

/** A signing key of a keyring. Instants are milliseconds since the Unix epoch. */
export interface KeyringKey {
  /** RFC 7638 thumbprint of the public key. */
  kid: string;
  algorithm: Algorithm;
  publicKey: PublicJWK;
  /** Absent where only the public part is left: such a key is published, but never signs again. */
  privateKey?: PrivateJWK;
  createdAt: number;
  /** From when it signs; absent: it has never signed. */
  activateAt?: number;
  /** From when no sidecar signs with it. */
  signUntil?: number;
  /** The longest lifetime of a token that it may ever have signed, recorded before it is distributed. */
  maxTTLMs?: number;
  /** When it leaves the JWKS; set for a key without a private part. */
  removeAt?: number;
}

/** All keys of an issuer: the one source of truth, from whose persisted version everything else derives. */
export interface Keyring {
  /** Goes up by one with each change. */
  revision: number;
  keys: KeyringKey[];
  /** The kids that once were published and no longer are. */
  removedKeyIDs: string[];
  /** The value of `spec.rotation.rotateNow` that was last acted on. */
  handledRotateNow: string;
}

/** A newly generated key pair. */
export interface NewKey {
  kid: string;
  publicKey: PublicJWK;
  privateKey: PrivateJWK;
}

/** State of a key for people: `Next` has never signed, `Active` signs, `Retired` no longer signs. */
export type KeyState = 'Next' | 'Active' | 'Retired';

/** The key that sidecars sign with at `now`: the newest whose time has come, else the earliest that will. */
export function activeKey(keyring: Keyring, now: number): KeyringKey | undefined {
  const signing = keyring.keys.filter((key) => key.privateKey && key.activateAt !== undefined);
  const byTime = signing.toSorted((a, b) => (a.activateAt as number) - (b.activateAt as number));
  return byTime.findLast((key) => (key.activateAt as number) <= now) ?? byTime[0];
}

/** The unused keys behind the active one, oldest first. */
export const spareKeys = (keyring: Keyring): KeyringKey[] =>
  keyring.keys.filter((key) => key.privateKey && key.activateAt === undefined);

/** The state of a key of the keyring at `now`. */
export function stateOf(keyring: Keyring, key: KeyringKey, now: number): KeyState {
  if (key === activeKey(keyring, now)) return 'Active';
  return key.privateKey && (key.activateAt === undefined || key.activateAt > now) ? 'Next' : 'Retired';
}

/** The public keys that the keyring says are published. */
export const publicKeys = (keyring: Keyring): PublicJWK[] => keyring.keys.map((key) => key.publicKey);

/** One key for each kid, the first of each. */
export function uniteByKid<Key extends { kid: string }>(...lists: readonly Key[][]): Key[] {
  const united = new Map<string, Key>();
  for (const key of lists.flat()) if (!united.has(key.kid)) united.set(key.kid, key);
  return [...united.values()];
}
