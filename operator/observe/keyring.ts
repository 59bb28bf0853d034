import type { PublicJWK } from '../../sidecar/contract/jwk.ts';
import { durationMs } from '../api/duration.ts';
import { Superseded } from '../api/errors.ts';
import { type MacpAuthIssuer, objectNames } from '../api/names.ts';
import {
  fromBase64,
  readDistributed,
  readDistributedJWKS,
  readPublished,
  secretTypes,
} from '../build/files.ts';
import { isOurs, revisionOf } from '../build/metadata.ts';
import type { ApiClient } from '../cluster/client.ts';
import { type KubeObject, resources } from '../cluster/resources.ts';
import { decodeKeyring, keyringFile } from '../plan/codec.ts';
import { uniteByKid } from '../plan/keyring.ts';
import type { KeyPolicy, ObservedKeyring, Traces } from '../plan/planner.ts';
import { isGenuine } from '../plan/thumbprint.ts';
import type { Children } from './world.ts';

/** What was found about an issuer's keyring. */
export interface KeyringObservation {
  /** The Secret itself, to be replaced by its resourceVersion. */
  secret: KubeObject | undefined;
  /** The name is a stranger's. */
  foreign: boolean;
  observed: ObservedKeyring;
  traces: Traces;
  /** A JWKS ConfigMap of an earlier issuer of this name is still being collected. */
  predecessorLingers: boolean;
}

/** What of the spec decides about keys. */
export const keyPolicy = ({ spec }: MacpAuthIssuer): KeyPolicy => ({
  algorithm: spec.algorithm,
  maxTTLMs: durationMs(spec.ttl.max),
  graceMs: durationMs(spec.rotation.grace),
  rotateNow: spec.rotation.rotateNow,
});

/**
 * Reads the keyring live, past every cache, after what tells of it was read live too: a cache that lacks something
 * never means that it does not exist.
 *
 * @throws Superseded when the issuer that is asked about is no longer the current one
 */
export async function observeKeyring(client: ApiClient, issuer: MacpAuthIssuer): Promise<KeyringObservation> {
  const { namespace, name, uid, generation } = issuer.metadata;
  const names = objectNames(issuer.metadata);
  const [current, configMap, agentSecret] = await Promise.all([
    client.get<MacpAuthIssuer>(resources.issuers, namespace, name),
    client.find(resources.configMaps, namespace, names.server),
    client.find(resources.secrets, namespace, names.agentSecret),
  ]);
  // Live traces beside a spec that lags would take an old rotateNow for new consent.
  if (current.metadata.uid !== uid || current.metadata.generation !== generation) {
    throw new Superseded('the issuer changed meanwhile');
  }
  const owners = configMap?.metadata.ownerReferences ?? [];
  const ownedByOther = owners.length > 0 && owners.every((owner) => owner.uid !== uid);
  const keyring = await client.find(resources.secrets, namespace, names.keyring);
  return observation(keyring, tracesOf(current, configMap, agentSecret), ownedByOther);
}

/**
 * The same with what the cache tells of the keyring: enough to find that all is as it should be, and for nothing else.
 * Undefined where the cache lacks something.
 */
export async function glanceAtKeyring(
  client: ApiClient,
  issuer: MacpAuthIssuer,
  { configMap, agentSecret }: Children,
): Promise<KeyringObservation | undefined> {
  if (!configMap || !agentSecret) return undefined;
  const traces = tracesOf(issuer, configMap, agentSecret);
  const { namespace } = issuer.metadata;
  const keyring = await client.find(resources.secrets, namespace, objectNames(issuer.metadata).keyring);
  return observation(keyring, traces, false);
}

function observation(
  secret: KubeObject | undefined,
  traces: Traces,
  predecessorLingers: boolean,
): KeyringObservation {
  const foreign = secret !== undefined && secret.type !== secretTypes.keyring;
  return { secret, foreign, observed: observedKeyring(secret), traces, predecessorLingers };
}

function observedKeyring(secret: KubeObject | undefined): ObservedKeyring {
  if (!secret) return { state: 'absent' };
  const data = secret.data as Record<string, string> | undefined;
  const decoded = decodeKeyring(fromBase64(data?.[keyringFile]));
  return 'problem' in decoded
    ? { state: 'unreadable', problem: `Secret ${secret.metadata.name} cannot be read: ${decoded.problem}` }
    : { state: 'present', keyring: decoded.keyring };
}

function tracesOf(
  issuer: MacpAuthIssuer,
  configMap: KubeObject | undefined,
  agentSecret: KubeObject | undefined,
): Traces {
  const { status } = issuer;
  const keys = status?.keys ?? [];
  const published = configMap && isOurs(configMap, {}, issuer) ? configMap : undefined;
  const distributed = agentSecret?.type === secretTypes.agent ? agentSecret : undefined;
  // Where status tells which keys there are, a key that somebody else wrote among them is none of them.
  const isKnown = ({ kid }: PublicJWK) => keys.length === 0 || keys.some(({ keyID }) => keyID === kid);
  const times = keys.flatMap(({ signUntilTime, removalTime }) => [signUntilTime, removalTime]);
  return {
    revision: Math.max(status?.keyringRevision ?? 0, revisionOf(published), revisionOf(distributed)),
    statusKeyIDs: keys.map(({ keyID }) => keyID),
    statusSignUntil: Math.max(0, ...times.map((time) => Date.parse(time ?? '') || 0)),
    handledRotateNow: status?.handledRotateNow,
    published: uniteByKid(readPublished(published), readDistributedJWKS(distributed)).filter(
      (key) => isKnown(key) && isGenuine(key),
    ),
    distributed: readDistributed(distributed),
  };
}
