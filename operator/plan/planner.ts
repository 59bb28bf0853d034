import type { Algorithm, PublicJWK } from '../../sidecar/contract/jwk.ts';
import { type AgentNamespaces, exposedKeyIDs } from './agents.ts';
import type { ImportedKey, ImportOutcome } from './import.ts';
import {
  activeKey,
  committedKey,
  type Keyring,
  type KeyringKey,
  type NewKey,
  type RevokedKey,
  signerOf,
  uniteByKid,
} from './keyring.ts';
import { isImporting, type KeyPolicy, ripeningMs, signUntilOf } from './policy.ts';
import {
  allPublicKeys,
  consentGiven,
  emptyKeyring,
  isRecoverable,
  merged,
  nothingTellsOfKeys,
  rebuilt,
  staleness,
  type Traces,
} from './recovery.ts';
import { revokedMeanwhile, untilRefusedMs } from './revocation.ts';
import {
  type Circumstances,
  dueAt,
  evolve,
  type RotationState,
  ripeAt,
  rotationState,
  safeToRevokeAt,
} from './rotation.ts';
import type { ServerObservation } from './servers.ts';
import { isSameKey } from './thumbprint.ts';

/** The keyring Secret as a live read found it. */
export type ObservedKeyring =
  | { state: 'absent' }
  | { state: 'unreadable'; problem: string }
  | { state: 'present'; keyring: Keyring };

/** Everything that {@link plan} decides from. `now` in milliseconds since the Unix epoch. */
export interface PlanInput {
  policy: KeyPolicy;
  observed: ObservedKeyring;
  traces: Traces;
  servers: ServerObservation;
  agents: AgentNamespaces;
  /** The key to import, where `spec.importKey` is set and the keyring does not say that it was. */
  imported?: ImportOutcome;
  now: number;
  /** Fresh keys to use, in order. With too few the answer is `needKeys`. */
  newKeys: readonly NewKey[];
}

/** Why the keyring stays as it is although something is wrong. */
type HoldReason = 'KeyringLost' | 'KeyringStale' | 'KeyringUnreadable' | 'ImportFailed' | 'ImportMismatch';

/** What became of the keyring, for an Event. */
export type KeyringChange =
  | 'KeyringCreated'
  | 'KeyringImported'
  | 'KeyringRebuilt'
  | 'KeyringReplaced'
  | 'KeyringMerged'
  | 'KeyringUpdated';

interface Current {
  keyring: Keyring;
  rotation: RotationState;
  /** When to look again at the latest, in milliseconds since the Unix epoch. */
  wakeAt: number;
}

/** What to do about the keyring. */
export type Plan =
  /** Call again with this many more new keys of this algorithm. */
  | { action: 'needKeys'; algorithm: Algorithm; count: number }
  /**
   * Write nothing; go on publishing `publish` (undefined: whatever is published now). `revoked` has all revocations,
   * which there is no keyring to keep.
   */
  | { action: 'hold'; reason: HoldReason; problem: string; revoked: RevokedKey[]; publish?: PublicJWK[] }
  /** Persist `keyring` first, then derive everything from it. `before` is what it came from. */
  | ({ action: 'write'; change: KeyringChange; before: Keyring } & Current)
  /** The keyring is as it should be. */
  | ({ action: 'keep' } & Current);

/**
 * Decides about an issuer's keyring, from what was observed and nothing else.
 *
 * A keyring is created only where nothing tells of an earlier one, rebuilt from what the agent Secrets hold, and
 * otherwise waits for consent. One that is there lives on by the rules of {@link evolve}.
 */
export function plan(input: PlanInput): Plan {
  const { observed, traces, policy } = input;
  if (observed.state === 'unreadable')
    return hold(input, 'KeyringUnreadable', observed.problem, traces.published);
  if (observed.state === 'absent') {
    if (nothingTellsOfKeys(traces)) {
      if (!isImporting(policy)) return live(input, emptyKeyring(input), 'KeyringCreated');
      const { imported = { problem: 'it was not read' } } = input;
      if ('problem' in imported) return hold(input, 'ImportFailed', imported.problem);
      return live(input, importedKeyring(input, imported.key), 'KeyringImported');
    }
    if (isRecoverable(input)) return live(input, rebuilt(input, false), 'KeyringRebuilt');
    if (consentGiven(policy, traces)) return live(input, rebuilt(input, true), 'KeyringReplaced');
    const problem =
      'the keyring Secret is gone, and no agent Secret holds a signing key from which to rebuild it';
    return hold(input, 'KeyringLost', problem, traces.published);
  }
  const { keyring } = observed;
  const stale = staleness(keyring, traces);
  if (stale === undefined) return importMismatch(input, keyring) ?? live(input, keyring, undefined);
  if (consentGiven(policy, traces)) return live(input, merged(input, keyring), 'KeyringMerged');
  return hold(input, 'KeyringStale', stale, allPublicKeys(keyring, traces), keyring.revoked);
}

// Whatever is held up, what is known to be published goes on being published, revoked keys apart.
function hold(
  input: PlanInput,
  reason: HoldReason,
  problem: string,
  keys: readonly PublicJWK[] = [],
  revokedBefore: readonly RevokedKey[] = [],
): Plan {
  const { traces, policy } = input;
  const told = traces.statusKeyIDs.map((kid) => ({ kid, algorithm: policy.algorithm }));
  const known = uniteByKid([...keys.map(({ kid, alg }) => ({ kid, algorithm: alg })), ...told]);
  const revoked = revokedMeanwhile(uniteByKid(revokedBefore, traces.revoked), known, input);
  const gone = new Set([...policy.revokedKeyIDs, ...revoked.map(({ kid }) => kid)]);
  const publish = keys.filter(({ kid }) => !gone.has(kid));
  const held = { action: 'hold', reason, revoked } as const;
  if (publish.length > 0) return { ...held, problem, publish };
  if (keys.length === 0) return { ...held, problem };
  // An empty JWKS would be a failed fetch to verifiers, which then go on with the keys they have.
  return {
    ...held,
    problem: `${problem}; all published keys are revoked, and stay published until others are there`,
  };
}

// The imported key signs on from the first moment: verifiers know it from the old service.
function importedKeyring(input: PlanInput, key: ImportedKey): Keyring {
  const { policy, now } = input;
  const signing: KeyringKey = {
    ...key,
    createdAt: now,
    activateAt: now,
    signUntil: signUntilOf(now, policy),
    maxTTLMs: policy.maxTTLMs,
  };
  return { ...emptyKeyring(input), keys: [signing], importedKeyID: key.kid };
}

// With a retained keyring that signs with another key, sidecars would sign with what the old service's verifiers lack.
function importMismatch(input: PlanInput, keyring: Keyring): Plan | undefined {
  const { policy, imported, now } = input;
  if (!isImporting(policy)) return undefined;
  if (!imported || 'problem' in imported) {
    // It is read once: what became of the Secret since is nobody's concern.
    if (keyring.importedKeyID !== undefined) return undefined;
    return hold(input, 'ImportFailed', imported?.problem ?? 'it was not read');
  }
  const { kid, publicKey } = imported.key;
  const namesake = keyring.keys.find((key) => key.kid === kid);
  // Everybody's first key may be called key-1.
  const isSame = namesake && isSameKey(namesake.publicKey, publicKey);
  if (isSame && activeKey(keyring, now)?.kid === kid) return undefined;
  const others = namesake ? `has another key of the name ${kid}` : `has no key ${kid}`;
  const problem = isSame ? `no longer signs with ${kid}` : others;
  return hold(input, 'ImportMismatch', `the retained keyring ${problem}`);
}

/** `change` says that the keyring is new in any case. */
function live(input: PlanInput, found: Keyring, change: KeyringChange | undefined): Plan {
  const { traces, imported } = input;
  const start = {
    ...found,
    // What was revoked while there was no keyring to keep it is revoked for good.
    revoked: uniteByKid(found.revoked, traces.revoked),
    ...(imported &&
      'key' in imported &&
      holds(found, imported.key.kid) && { importedKeyID: imported.key.kid }),
  };
  const circumstances: Circumstances = {
    ...input,
    distributed: traces.distributed,
  };
  const evolved = evolve(start, circumstances, input.newKeys);
  if ('missing' in evolved)
    return { action: 'needKeys', algorithm: input.policy.algorithm, count: evolved.missing };
  const rotation = rotationState(evolved, circumstances);
  const wakeAt = nextInstant(evolved, circumstances);
  if (change === undefined && sameJSON(evolved, found))
    return { action: 'keep', keyring: found, rotation, wakeAt };
  const derived = change !== undefined || !sameJSON(withoutBookkeeping(evolved), withoutBookkeeping(found));
  const keyring = derived ? { ...evolved, revision: start.revision + 1 } : evolved;
  return { action: 'write', change: change ?? 'KeyringUpdated', keyring, before: found, rotation, wakeAt };
}

const holds = ({ keys }: Keyring, kid: string): boolean =>
  keys.some((key) => key.kid === kid && key.privateKey);

const sameJSON = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

// Nothing derives from when a key was seen where, or is accepted, nor from who has it: writing that down is no new
// revision.
const withoutBookkeeping = ({ namespaces: _, deselected: __, ...keyring }: Keyring) => ({
  ...keyring,
  keys: keyring.keys.map(({ servedSince: _, distributedAt: __, acceptedFrom: ___, ...key }) => key),
  revoked: keyring.revoked.length,
});

// When a key that a deselected namespace knows is to be revoked, or is refused by verifiers.
function endOfExposed(keyring: Keyring, kid: string, policy: KeyPolicy): number | undefined {
  const key = keyring.keys.find((candidate) => candidate.kid === kid);
  if (key) return safeToRevokeAt(keyring, key, policy);
  return keyring.revoked.find((one) => one.kid === kid)?.safeAt;
}

function nextInstant(keyring: Keyring, { policy, now }: Circumstances): number {
  const active = signerOf(keyring, now);
  const instants = [
    dueAt(active, policy),
    active.activateAt + policy.clockSkewMs,
    active.signUntil - policy.graceMs / 2,
    committedKey(keyring, now)?.activateAt ?? now,
    ...keyring.keys.flatMap((key) => [ripeAt(key, policy), key.removeAt ?? now]),
    ...keyring.revoked.map(({ safeAt }) => safeAt - untilRefusedMs(policy)),
    ...[...exposedKeyIDs(keyring)].map((kid) => endOfExposed(keyring, kid, policy) ?? now),
    // In time to put the promise off, while no server serves the key.
    ...keyring.keys.map(({ acceptedFrom = now }) => acceptedFrom - ripeningMs(policy)),
  ];
  return Math.min(...instants.filter((instant) => instant > now));
}
