import type { MacpAuthIssuer } from '../api/names.ts';
import type { MacpAuthIssuerStatus } from '../api/v1alpha1.ts';
import { jwksURL } from '../build/server.ts';
import { keyPolicy } from '../observe/keyring.ts';
import {
  activeKey,
  committedKey,
  type Keyring,
  type KeyringKey,
  type RevokedKey,
  stateOf,
} from '../plan/keyring.ts';
import { isImporting, type KeyPolicy } from '../plan/policy.ts';
import { dueAt, safeToRevokeAt } from '../plan/rotation.ts';
import { conditionsOf, type Judgement } from './conditions.ts';

type KeyStatus = NonNullable<MacpAuthIssuerStatus['keys']>[number];

const toRFC3339 = (ms: number): string => new Date(ms).toISOString();

/** What holds of the keys while there is no current keyring. */
export type RevocationsOnly = Pick<Keyring, 'revoked'>;

/**
 * The whole status of an issuer. Without a current keyring, what status says of the keys stays as it was, revocations
 * apart: it is what tells that there were keys. `namespaces` have current agent Secrets; undefined: not looked at.
 */
export function statusOf(
  issuer: MacpAuthIssuer,
  known: Keyring | RevocationsOnly,
  judgements: readonly Judgement[],
  now: number,
  namespaces: number | undefined = issuer.status?.namespaces,
): MacpAuthIssuerStatus {
  const policy = keyPolicy(issuer);
  const previous = issuer.status;
  return {
    observedGeneration: issuer.metadata.generation,
    conditions: conditionsOf(judgements, previous?.conditions ?? [], issuer.metadata.generation, now),
    jwksURL: jwksURL(issuer),
    ...(namespaces !== undefined && { namespaces }),
    ...('keys' in known ? keyringStatus(known, policy, now) : previousKeyringStatus(issuer, known)),
  };
}

function keyringStatus(keyring: Keyring, policy: KeyPolicy, now: number): MacpAuthIssuerStatus {
  const active = activeKey(keyring, now);
  const committed = committedKey(keyring, now);
  // A migration that is under way ends with a person's decision, not at a time.
  const due = active && !isImporting(policy) ? dueAt(active, policy) : undefined;
  const next = committed ? committed.activateAt : due;
  return {
    ...(active && { activeKeyID: active.kid }),
    ...(next !== undefined && { nextRotationTime: toRFC3339(next) }),
    keys: [
      ...keyring.keys.map((key) => keyStatus(keyring, key, policy, now)),
      ...keyring.revoked.map(revokedStatus),
    ],
    keyringRevision: keyring.revision,
    handledRotateNow: keyring.handledRotateNow,
    observedRotateNow: policy.rotateNow,
  };
}

function keyStatus(keyring: Keyring, key: KeyringKey, policy: KeyPolicy, now: number): KeyStatus {
  const state = stateOf(keyring, key, now);
  const safeToRevoke = state === 'Retired' ? safeToRevokeAt(keyring, key, policy) : undefined;
  return {
    keyID: key.kid,
    algorithm: key.algorithm,
    state,
    ...(key.activateAt !== undefined && { activeTime: toRFC3339(key.activateAt) }),
    ...(key.acceptedFrom !== undefined && { acceptedFromTime: toRFC3339(key.acceptedFrom) }),
    ...(key.signUntil !== undefined && { signUntilTime: toRFC3339(key.signUntil) }),
    ...(safeToRevoke !== undefined && { safeToRevokeTime: toRFC3339(safeToRevoke) }),
    ...(key.removeAt !== undefined && { removalTime: toRFC3339(key.removeAt) }),
  };
}

const revokedStatus = (key: RevokedKey): KeyStatus => ({
  keyID: key.kid,
  algorithm: key.algorithm,
  state: 'Revoked',
  removalTime: toRFC3339(key.revokedAt),
  revokedSafeTime: toRFC3339(key.safeAt),
  revokedSafeAtWorstTime: toRFC3339(key.safeAtWorst),
});

function previousKeyringStatus(
  { spec, status }: MacpAuthIssuer,
  { revoked }: RevocationsOnly,
): MacpAuthIssuerStatus {
  const others = (status?.keys ?? []).filter(({ keyID }) => revoked.every(({ kid }) => kid !== keyID));
  const keys = [...others, ...revoked.map(revokedStatus)];
  return {
    ...(status?.activeKeyID !== undefined && { activeKeyID: status.activeKeyID }),
    ...(status?.nextRotationTime !== undefined && { nextRotationTime: status.nextRotationTime }),
    ...((status?.keys || keys.length > 0) && { keys }),
    ...(status?.keyringRevision !== undefined && { keyringRevision: status.keyringRevision }),
    ...(status?.handledRotateNow !== undefined && { handledRotateNow: status.handledRotateNow }),
    // A value that was there before anything went wrong is no consent.
    observedRotateNow: status?.observedRotateNow ?? spec.rotation.rotateNow,
  };
}
