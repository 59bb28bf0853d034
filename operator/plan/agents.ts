import type { SigningKey } from '../../sidecar/contract/files.ts';
import { worksWith } from './codec.ts';
import { type Deselection, isSpare, type Keyring, type KeyringKey, mapKeys } from './keyring.ts';
import type { KeyPolicy } from './policy.ts';
import { untilRefusedMs } from './revocation.ts';
import type { NamespaceSelector, Selection } from './selection.ts';

/** What was seen of the namespaces, other than the issuer's own, whose agents get keys. */
export interface AgentNamespaces extends Selection {
  /** What selects them; absent where nothing does. */
  selector?: NamespaceSelector;
  /** The signing keys that agent Secrets of this issuer hold, by namespace. */
  held: readonly { namespace: string; keys: readonly SigningKey[] }[];
  /** The namespaces whose Secrets could not be listed yet: what is held there is not known. */
  unseen: readonly string[] | 'all';
  /** The namespaces that the operator works in; undefined: all. What others were given it can no longer keep in step. */
  watched?: readonly string[];
}

/**
 * The kids that every agent Secret holds which is to be kept in step. A namespace that has none has no sidecar that
 * could go on with an older key, unless it was deselected before: then pods there have their old files still. Of one
 * whose Secrets are not known it cannot be said.
 */
export function distributedEverywhere(
  { namespaces, deselected }: Keyring,
  own: readonly SigningKey[],
  { held, unseen }: AgentNamespaces,
): string[] {
  if (namespaces.some((namespace) => unseen === 'all' || unseen.includes(namespace))) return [];
  const listed = new Set(namespaces);
  const returned = deselected.map(({ namespace }) => namespace).filter((namespace) => listed.has(namespace));
  const kidsOf = (keys: readonly SigningKey[]) => new Set(keys.map(({ kid }) => kid));
  const others = new Map([
    ...returned.map((namespace) => [namespace, new Set<string>()] as const),
    ...held
      .filter(({ namespace }) => listed.has(namespace))
      .map((one) => [one.namespace, kidsOf(one.keys)] as const),
  ]);
  return [...kidsOf(own)].filter((kid) => [...others.values()].every((kids) => kids.has(kid)));
}

/**
 * Notes which namespaces are given keys, before any is, and which are no longer selected, before their Secrets go:
 * whoever stops in between finds out from the keyring.
 *
 * A namespace that is gone took what it knew with it. One that is selected anew stays among the deselected: what it
 * could have done with its keys meanwhile is not known.
 */
export function withNamespaces(
  keyring: Keyring,
  { agents, now }: { agents: AgentNamespaces; now: number },
): Keyring {
  const { selected, unknown, held, watched } = agents;
  const unselected = new Set(agents.unselected);
  const unsure = new Set(unknown === 'all' ? keyring.namespaces : unknown);
  // Every key that ever was handed out: a namespace may have kept what it has had.
  const handedOut = keyring.keys.filter((key) => !isSpare(key)).map(({ kid }) => kid);
  const listed = new Set(keyring.namespaces);
  const followed = watched && new Set(watched);
  const left = keyring.namespaces
    .filter((namespace) => unselected.has(namespace) || followed?.has(namespace) === false)
    .map((namespace) => ({ namespace, since: now, keyIDs: handedOut }));
  const strays = held
    .filter(({ namespace }) => unselected.has(namespace) && !listed.has(namespace))
    .map(({ namespace, keys }) => ({ namespace, since: now, keyIDs: keysOfOurs(keyring, keys) }));
  const deselected = withDeselections(keyring, [...left, ...strays]);
  const kept = keyring.namespaces.filter((namespace) => unsure.has(namespace));
  const namespaces = [...new Set([...kept, ...selected])].toSorted();
  const isSame =
    namespaces.length === keyring.namespaces.length &&
    namespaces.every((name, i) => name === keyring.namespaces[i]);
  if (isSame && deselected === keyring.deselected) return keyring;
  const given = new Set(namespaces);
  const isReturning = ({ namespace }: Deselection) => given.has(namespace) && !listed.has(namespace);
  const noted = { ...keyring, namespaces, deselected };
  // Pods that are there still have to follow first: what was confirmed before does not count for them.
  return keyring.deselected.some(isReturning) ? mapKeys(noted, ({ distributedAt: _, ...key }) => key) : noted;
}

// Anybody can make a Secret that looks like ours: what counts are the keys in it that are.
const keysOfOurs = (keyring: Keyring, keys: readonly SigningKey[]): string[] =>
  keys
    .filter((key) => {
      const known = keyring.keys.find(({ kid }) => kid === key.kid);
      return known !== undefined && worksWith(key.privateKey, known.publicKey);
    })
    .map(({ kid }) => kid);

function withDeselections(
  { deselected, keys, revoked }: Keyring,
  added: readonly Deselection[],
): Deselection[] {
  const all = new Map(deselected.map((one) => [one.namespace, one]));
  // A namespace that comes and goes for years would fill the Secret with what is long gone.
  const known = new Set([...keys, ...revoked].map(({ kid }) => kid));
  let changed = false;
  for (const one of added) {
    const before = all.get(one.namespace)?.keyIDs ?? [];
    if (one.keyIDs.every((kid) => before.includes(kid))) continue;
    changed = true;
    const keyIDs = [...new Set([...before.filter((kid) => known.has(kid)), ...one.keyIDs])];
    all.delete(one.namespace);
    all.set(one.namespace, { ...one, keyIDs });
  }
  return changed ? [...all.values()] : deselected;
}

/** The keys that namespaces know which are not selected any more. */
export const exposedKeyIDs = ({ deselected }: Keyring): Set<string> =>
  new Set(deselected.flatMap(({ keyIDs }) => keyIDs));

/** Whether a namespace that is not selected any more knows a key. */
export const isExposed = ({ deselected }: Keyring, kid: string): boolean =>
  deselected.some(({ keyIDs }) => keyIDs.includes(kid));

/** Forgets the namespaces all of whose keys every healthy verifier refuses. */
export function withoutHarmless(keyring: Keyring, now: number): Keyring {
  const unsafe = keyring.revoked.filter(({ safeAt }) => safeAt > now);
  const accepted = new Set([...keyring.keys, ...unsafe].map(({ kid }) => kid));
  const deselected = keyring.deselected.filter(({ keyIDs }) => keyIDs.some((kid) => accepted.has(kid)));
  return deselected.length === keyring.deselected.length ? keyring : { ...keyring, deselected };
}

/**
 * From when every healthy verifier refuses what can be minted with some keys; undefined while that is still to be seen.
 * `revokedFrom` says when a key will be revoked.
 */
export function mintsUntil(
  keyring: Keyring,
  keyIDs: readonly string[],
  policy: KeyPolicy,
  revokedFrom: (key: KeyringKey) => number | undefined,
): number | undefined {
  const ends = keyIDs.map((kid) => {
    const key = keyring.keys.find((candidate) => candidate.kid === kid);
    if (!key) return keyring.revoked.find((one) => one.kid === kid)?.safeAt ?? 0;
    const from = revokedFrom(key);
    const refused = from === undefined ? undefined : from + policy.propagationMs + untilRefusedMs(policy);
    return refused !== undefined && key.removeAt !== undefined
      ? Math.min(refused, key.removeAt)
      : (refused ?? key.removeAt);
  });
  if (ends.some((end) => end === undefined)) return undefined;
  return Math.max(...ends.map((end) => end as number));
}
