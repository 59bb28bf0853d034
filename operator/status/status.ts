import type { MacpAuthIssuer } from '../api/names.ts';
import type { MacpAuthIssuerStatus } from '../api/v1alpha1.ts';
import { jwksURL } from '../build/server.ts';
import { activeKey, type Keyring, stateOf } from '../plan/keyring.ts';
import { conditionsOf, type Judgement } from './conditions.ts';

const toRFC3339 = (ms: number): string => new Date(ms).toISOString();

/**
 * The whole status of an issuer. Without a current keyring, what status says of the keys stays as it was: it is what
 * tells that there were keys.
 */
export function statusOf(
  issuer: MacpAuthIssuer,
  keyring: Keyring | undefined,
  judgements: readonly Judgement[],
  now: number,
): MacpAuthIssuerStatus {
  const previous = issuer.status;
  return {
    observedGeneration: issuer.metadata.generation,
    conditions: conditionsOf(judgements, previous?.conditions ?? [], issuer.metadata.generation, now),
    jwksURL: jwksURL(issuer),
    ...(keyring ? keyringStatus(keyring, now) : previousKeyringStatus(issuer)),
  };
}

function keyringStatus(keyring: Keyring, now: number): MacpAuthIssuerStatus {
  const active = activeKey(keyring, now);
  return {
    ...(active && { activeKeyID: active.kid }),
    keys: keyring.keys.map((key) => ({
      keyID: key.kid,
      algorithm: key.algorithm,
      state: stateOf(keyring, key, now),
      ...(key.activateAt !== undefined && { activeTime: toRFC3339(key.activateAt) }),
      ...(key.signUntil !== undefined && { signUntilTime: toRFC3339(key.signUntil) }),
      ...(key.removeAt !== undefined && { removalTime: toRFC3339(key.removeAt) }),
    })),
    keyringRevision: keyring.revision,
    handledRotateNow: keyring.handledRotateNow,
  };
}

function previousKeyringStatus({ spec, status }: MacpAuthIssuer): MacpAuthIssuerStatus {
  return {
    ...(status?.activeKeyID !== undefined && { activeKeyID: status.activeKeyID }),
    ...(status?.keys && { keys: status.keys }),
    ...(status?.keyringRevision !== undefined && { keyringRevision: status.keyringRevision }),
    // A value that was there before anything went wrong is no consent.
    handledRotateNow: status?.handledRotateNow ?? spec.rotation.rotateNow,
  };
}
