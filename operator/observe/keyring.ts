import { durationMs } from '../api/duration.ts';
import { type MacpAuthIssuer, objectNames } from '../api/names.ts';
import { fromBase64, readDistributed, readPublished, secretTypes } from '../build/files.ts';
import { revisionOf } from '../build/metadata.ts';
import type { ApiClient } from '../cluster/client.ts';
import { type KubeObject, resources } from '../cluster/resources.ts';
import { decodeKeyring, keyringFile } from '../plan/codec.ts';
import { type KeyPolicy, type ObservedKeyring, staleness, type Traces } from '../plan/planner.ts';
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
 * Reads the keyring live, past every cache, after what tells of it was gathered. Unless all is as it should be, what
 * tells of it is read live too: a cache that lacks something never means that it does not exist.
 */
export async function observeKeyring(
  client: ApiClient,
  issuer: MacpAuthIssuer,
  children: Children,
): Promise<KeyringObservation> {
  const { namespace } = issuer.metadata;
  const names = objectNames(issuer.metadata);
  const read = () => client.find(resources.secrets, namespace, names.keyring);

  if (children.configMap && children.agentSecret) {
    const cached = tracesOf(issuer, children.configMap, children.agentSecret);
    const quick = observation(await read(), cached, false);
    if (quick.observed.state === 'present' && staleness(quick.observed.keyring, cached) === undefined)
      return quick;
  }

  const [current, configMap, agentSecret] = await Promise.all([
    client.get<MacpAuthIssuer>(resources.issuers, namespace, issuer.metadata.name),
    client.find(resources.configMaps, namespace, names.server),
    client.find(resources.secrets, namespace, names.agentSecret),
  ]);
  const owners = configMap?.metadata.ownerReferences ?? [];
  const ownedByOther = owners.length > 0 && owners.every(({ uid }) => uid !== issuer.metadata.uid);
  return observation(await read(), tracesOf(current, configMap, agentSecret), ownedByOther);
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
  return {
    revision: Math.max(status?.keyringRevision ?? 0, revisionOf(configMap), revisionOf(agentSecret)),
    statusKeyIDs: status?.keys?.map(({ keyID }) => keyID) ?? [],
    statusSignUntil: Math.max(
      0,
      ...(status?.keys ?? []).map((key) => Date.parse(key.signUntilTime ?? '') || 0),
    ),
    handledRotateNow: status?.handledRotateNow,
    published: readPublished(configMap),
    distributed: readDistributed(agentSecret),
  };
}
