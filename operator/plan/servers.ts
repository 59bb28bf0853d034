import { type Keyring, knownKeyIDs } from './keyring.ts';
import { isGenuine, isSameKey, type PublicMembers } from './thumbprint.ts';

/** A key as a server pod served it; whether its members are what they should be is not known. */
export type ServedKey = PublicMembers & { kid: string };

/** What a ready server pod answered when it was asked for its JWKS, or why it gave none. */
export type ServerAnswer =
  | {
      pod: string;
      keys: readonly ServedKey[];
      /** The pod's clock minus ours, in milliseconds, as far as a `Date` in whole seconds tells. */
      clockDifferenceMs: number;
    }
  | { pod: string; problem: string };

/** What the set at `spec.server.externalURL` held when it was asked, or why it gave none. */
export type ExternalAnswer = { keys: readonly ServedKey[] } | { problem: string };

/** What the ready server pods served when they were asked just now. */
export interface ServerObservation {
  /** The kids that each pod served, by the rule of {@link servedKeyIDs}. */
  answers: readonly (readonly string[])[];
  /**
   * The kids in the set at `spec.server.externalURL`, by the same rule; undefined where there is no such URL or it gave no
   * set. It may come from any cache before the servers.
   */
  external?: readonly string[];
  /** Ready pods that gave no answer. */
  silent: number;
  /** The largest difference between a server's clock and ours, in milliseconds. */
  clockDifferenceMs: number;
}

/**
 * The kids of served keys. One with other members than the keyring's key of that kid is another key, and gets a name
 * that no key has.
 */
export const servedKeyIDs = (keys: readonly ServedKey[], keyring: Keyring | undefined): string[] =>
  keys.map((key) => (isAsKnown(key, keyring) ? key.kid : `${key.kid} with other members`));

function isAsKnown(key: ServedKey, keyring: Keyring | undefined): boolean {
  const known = keyring?.keys.find(({ kid }) => kid === key.kid);
  if (known) return isSameKey(known.publicKey, key);
  // Of a key that is gone only its name is left to compare with.
  return key.kid === keyring?.importedKeyID || isGenuine(key);
}

/** What the pods' answers, and that of the external URL, mean for the keys. */
export function observeServers(
  served: readonly ServerAnswer[],
  keyring: Keyring | undefined,
  external?: ExternalAnswer,
): ServerObservation {
  const answers = served.filter((answer) => 'keys' in answer);
  return {
    answers: answers.map(({ keys }) => servedKeyIDs(keys, keyring)),
    ...(external && 'keys' in external && { external: servedKeyIDs(external.keys, keyring) }),
    silent: served.length - answers.length,
    clockDifferenceMs: Math.max(0, ...answers.map(({ clockDifferenceMs }) => Math.abs(clockDifferenceMs))),
  };
}

/** Every set that a verifier may have fetched. */
export const servedSets = ({ answers, external }: ServerObservation): (readonly string[])[] =>
  external ? [...answers, external] : [...answers];

/** Whether a pod at least was asked, and all that were served the key. None observed is not "all fine". */
export const isServedByPods = ({ answers }: ServerObservation, kid: string): boolean =>
  answers.length > 0 && answers.every((kids) => kids.includes(kid));

/** Whether {@link isServedByPods}, and the external URL was not seen without the key. */
export const isServedByAll = (servers: ServerObservation, kid: string): boolean =>
  isServedByPods(servers, kid) && (servers.external?.includes(kid) ?? true);

/** Whether a pod or the external URL was seen without the key. */
export const isMissingSomewhere = (servers: ServerObservation, kid: string): boolean =>
  servedSets(servers).some((kids) => !kids.includes(kid));

/** Whether a pod or the external URL was seen with the key. */
export const isServedSomewhere = (servers: ServerObservation, kid: string): boolean =>
  servedSets(servers).some((kids) => kids.includes(kid));

/** The kids among those served that the keyring neither has nor had. */
export function strangers(kids: readonly string[], keyring: Keyring): string[] {
  const known = knownKeyIDs(keyring);
  return [...new Set(kids)].filter((kid) => !known.has(kid));
}

/** Kids for a message: what a stranger wrote must not fill status. */
export function abbreviated(kids: readonly string[]): string {
  const shown = kids.slice(0, 3).map((kid) => kid.slice(0, 64));
  return kids.length > shown.length
    ? `${shown.join(', ')} and ${kids.length - shown.length} more`
    : shown.join(', ');
}
