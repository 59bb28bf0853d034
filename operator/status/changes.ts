import { activeKey, committedKey, isSigning, type Keyring, type RevokedKey } from '../plan/keyring.ts';
import { abbreviated } from '../plan/servers.ts';
import type { IssuerEvent } from './events.ts';

const at = (ms: number): string => new Date(ms).toISOString();

/** The Events of revocations that are new. */
export const revocationEvents = (
  before: readonly RevokedKey[],
  after: readonly RevokedKey[],
): IssuerEvent[] =>
  after
    .filter(({ kid }) => !before.some((known) => known.kid === kid))
    .map(({ kid, safeAt, safeAtWorst }) => ({
      type: 'Warning',
      reason: 'KeyRevoked',
      note: `key ${kid} was withdrawn; healthy verifiers refuse it from ${at(safeAt)}, one that cannot fetch the JWKS from ${at(safeAtWorst)}`,
    }));

/** The Events that a change of the keyring is worth, in the order of a key's life. `now` in milliseconds. */
export function keyEvents(before: Keyring, after: Keyring, now: number): IssuerEvent[] {
  const had = (kid: string) => before.keys.find((key) => key.kid === kid);
  const normal = (reason: string, note: string): IssuerEvent => ({ type: 'Normal', reason, note });
  const warning = (reason: string, note: string): IssuerEvent => ({ type: 'Warning', reason, note });

  const known = new Map(before.deselected.map(({ namespace, since }) => [namespace, since]));
  const deselected = after.deselected.filter(({ namespace, since }) => known.get(namespace) !== since);
  const committed = committedKey(after, now);
  const active = activeKey(after, now);
  const revocations = revocationEvents(before.revoked, after.revoked);
  const isNewSigner = active && had(active.kid)?.activateAt !== active.activateAt;
  return [
    ...(deselected.length > 0
      ? [
          normal(
            'NamespaceDeselected',
            `no longer selected: ${abbreviated(deselected.map(({ namespace }) => namespace))}; the keys known there are replaced, then revoked`,
          ),
        ]
      : []),
    ...(committed && had(committed.kid)?.activateAt !== committed.activateAt
      ? [normal('SwitchCommitted', `sidecars switch to key ${committed.kid} at ${at(committed.activateAt)}`)]
      : []),
    ...after.keys
      .filter((key) => had(key.kid)?.privateKey && had(key.kid)?.activateAt !== undefined && !isSigning(key))
      .map((key) =>
        normal(
          'KeyRetired',
          `key ${key.kid} no longer signs, and leaves the JWKS at ${at(key.removeAt ?? now)}`,
        ),
      ),
    ...after.removedKeyIDs
      .filter((kid) => had(kid)?.activateAt !== undefined && !after.revoked.some((key) => key.kid === kid))
      .map((kid) => normal('KeyRemoved', `key ${kid} left the JWKS: no token of it can be alive`)),
    ...revocations,
    ...(revocations.length > 0 && isNewSigner
      ? [
          warning(
            'KeyPromoted',
            active.acceptedFrom === undefined
              ? `key ${active.kid} signs from now on; verifiers know it already`
              : `key ${active.kid} signs from now on; every healthy verifier accepts it from ${at(active.acceptedFrom)}`,
          ),
        ]
      : []),
    ...after.keys
      .filter(
        (key) => key.signUntil !== undefined && (had(key.kid)?.signUntil ?? key.signUntil) < key.signUntil,
      )
      .map((key) =>
        warning(
          'SignatureExtended',
          `no successor is committed yet: key ${key.kid} may sign until ${at(key.signUntil as number)}`,
        ),
      ),
  ];
}
