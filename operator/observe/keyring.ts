import type { SigningKey } from '../../sidecar/contract/files.ts';
import { type Algorithm, type PublicJWK, publicHalf } from '../../sidecar/contract/jwk.ts';
import { durationMs } from '../api/duration.ts';
import { Superseded } from '../api/errors.ts';
import { type MacpAuthIssuer, objectNames } from '../api/names.ts';
import type { MacpAuthIssuerStatus } from '../api/v1alpha1.ts';
import {
  fromBase64,
  jwksMaxAgeSeconds,
  readDistributed,
  readDistributedJWKS,
  readPublished,
  secretTypes,
} from '../build/files.ts';
import { isOurs, revisionOf } from '../build/metadata.ts';
import type { ApiClient } from '../cluster/client.ts';
import { type KubeObject, resources } from '../cluster/resources.ts';
import { decodeKeyring, keyringFile, worksWith } from '../plan/codec.ts';
import { type ImportOutcome, readImportedKey } from '../plan/import.ts';
import { type RevokedKey, uniteByKid } from '../plan/keyring.ts';
import type { ObservedKeyring } from '../plan/planner.ts';
import type { KeyPolicy } from '../plan/policy.ts';
import { staleness, type Traces } from '../plan/recovery.ts';
import { isGenuine, isSameKey, thumbprint } from '../plan/thumbprint.ts';
import { listAgentSecrets } from './agents.ts';
import type { Children } from './world.ts';

type StatusKey = NonNullable<MacpAuthIssuerStatus['keys']>[number];

/** What was found about an issuer's keyring. */
export interface KeyringObservation {
  /** The Secret itself, to be replaced by its resourceVersion. */
  secret: KubeObject | undefined;
  /** The name is a stranger's. */
  foreign: boolean;
  observed: ObservedKeyring;
  traces: Traces;
  /** The key to import, where one is asked for and was not imported yet. */
  imported?: ImportOutcome;
  /** A JWKS ConfigMap of an earlier issuer of this name is still being collected. */
  predecessorLingers: boolean;
}

/** What of the spec decides about keys. */
export const keyPolicy = (issuer: MacpAuthIssuer): KeyPolicy => {
  const { algorithm, ttl, rotation, importKey } = issuer.spec;
  // What takes no time at all would have no order.
  const propagationMs = Math.max(1, durationMs(rotation.propagation));
  const clockSkewMs = durationMs(rotation.clockSkew);
  // A rotation that is due has to be over, and a later end to have arrived, before the old key's end.
  const graceMs = Math.max(durationMs(rotation.grace), 2 * (propagationMs + clockSkewMs));
  return {
    algorithm,
    maxTTLMs: durationMs(ttl.max),
    intervalMs: durationMs(rotation.interval),
    verifierCacheTTLMs: durationMs(rotation.verifierCacheTTL),
    maxAgeMs: jwksMaxAgeSeconds(issuer) * 1000,
    propagationMs,
    clockSkewMs,
    graceMs,
    rotateNow: rotation.rotateNow,
    revokedKeyIDs: rotation.revokedKeyIDs,
    ...(importKey && { importMaxTTLMs: durationMs(importKey.maxTTL) }),
  };
};

/**
 * Reads the keyring live, past every cache, after what tells of it was read live too: a cache that lacks something
 * never means that it does not exist.
 *
 * @throws Superseded when the issuer that is asked about is no longer the current one
 */
export async function observeKeyring(
  client: ApiClient,
  issuer: MacpAuthIssuer,
  watchedNamespaces: readonly string[] | undefined,
): Promise<KeyringObservation> {
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
  const readSecret = () => client.find(resources.secrets, namespace, names.keyring);
  const traces = tracesOf(current, configMap, agentSecret, []);
  let found = observation(await readSecret(), traces, ownedByOther);
  if (!found.foreign && !isWhole(found) && namesKeys(traces)) {
    // Only now what other namespaces hold counts; and then the keyring is read after it, as after all that tells of it.
    const secrets = await listAgentSecrets(client, issuer.metadata, watchedNamespaces);
    const others = secrets.filter(({ metadata }) => metadata.namespace !== namespace);
    found = observation(await readSecret(), tracesOf(current, configMap, agentSecret, others), ownedByOther);
  }
  const imported = await observeImport(client, current, found.observed);
  return { ...found, ...(imported && { imported }) };
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
  // Whether a retained keyring began with the key to import is to be seen from the Secret that holds it.
  if (issuer.spec.importKey && issuer.status?.keyringRevision === undefined) return undefined;
  const traces = tracesOf(issuer, configMap, agentSecret, []);
  const { namespace } = issuer.metadata;
  const keyring = await client.find(resources.secrets, namespace, objectNames(issuer.metadata).keyring);
  return observation(keyring, traces, false);
}

const isWhole = ({ observed, traces }: KeyringObservation): boolean =>
  observed.state === 'present' && staleness(observed.keyring, traces) === undefined;

// A key in another namespace is the issuer's only if something in its own says so.
const namesKeys = ({ statusKeyIDs, published }: Traces): boolean =>
  statusKeyIDs.length > 0 || published.length > 0;

async function observeImport(
  client: ApiClient,
  { metadata, spec, status }: MacpAuthIssuer,
  observed: ObservedKeyring,
): Promise<ImportOutcome | undefined> {
  if (!spec.importKey) return undefined;
  const wasImported = observed.state === 'present' && observed.keyring.importedKeyID !== undefined;
  // A new issuer that finds a retained keyring may ask for another key than the one that began it.
  if (wasImported && status?.keyringRevision !== undefined) return undefined;
  const { name, key } = spec.importKey.secretRef;
  const secret = await client.find(resources.secrets, metadata.namespace, name);
  if (!secret) return { problem: `Secret ${name}, from which to import, does not exist` };
  const text = fromBase64((secret.data as Record<string, string> | undefined)?.[key]);
  if (text === undefined) return { problem: `Secret ${name}, from which to import, has no data.${key}` };
  const outcome = readImportedKey(text);
  return 'problem' in outcome
    ? { problem: `the key in data.${key} of Secret ${name} cannot be imported: ${outcome.problem}` }
    : outcome;
}

function observation(
  secret: KubeObject | undefined,
  traces: Traces,
  predecessorLingers: boolean,
): KeyringObservation {
  const foreign = secret !== undefined && secret.type !== secretTypes.keyring;
  return { secret, foreign, observed: readKeyring(secret), traces, predecessorLingers };
}

/** Reads the keyring that its Secret holds. */
export function readKeyring(secret: KubeObject | undefined): ObservedKeyring {
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
  others: readonly KubeObject[],
): Traces {
  const { status } = issuer;
  const keys = status?.keys ?? [];
  const published = configMap && isOurs(configMap, {}, issuer) ? configMap : undefined;
  const distributed = agentSecret?.type === secretTypes.agent ? agentSecret : undefined;
  // Where status tells which keys there are, a key that somebody else wrote among them is none of them.
  const isKnown = ({ kid }: PublicJWK) => keys.length === 0 || keys.some(({ keyID }) => keyID === kid);
  const own = readDistributed(distributed);
  const elsewhere = others.map((secret) => ({
    namespace: secret.metadata.namespace,
    keys: readDistributed(secret).flatMap((key) => keyFromElsewhere(key, keys, readPublished(published))),
  }));
  const held = uniteByKid(own, ...elsewhere.map((secret) => secret.keys));
  // An imported key may bear a name that only looks like a thumbprint.
  const isHeld = (key: PublicJWK) =>
    held.some(({ kid, privateKey }) => kid === key.kid && isSameKey(privateKey, key));
  const times = keys.flatMap(({ signUntilTime, removalTime }) => [signUntilTime, removalTime]);
  return {
    revision: Math.max(status?.keyringRevision ?? 0, revisionOf(published), revisionOf(distributed)),
    statusKeyIDs: keys.filter(({ state }) => state !== 'Revoked').map(({ keyID }) => keyID),
    statusSignUntil: Math.max(0, ...times.map((time) => Date.parse(time ?? '') || 0)),
    revoked: keys.filter(({ state }) => state === 'Revoked').map(revokedKey),
    handledRotateNow: status?.handledRotateNow,
    observedRotateNow: status?.observedRotateNow,
    published: uniteByKid(readPublished(published), readDistributedJWKS(distributed)).filter(
      (key) => isKnown(key) && (isGenuine(key) || isHeld(key)),
    ),
    distributed: held,
    holders: elsewhere.filter((secret) => secret.keys.length > 0).map(({ namespace }) => namespace),
  };
}

// Others may write Secrets there: status or the JWKS must name the very key, and status tells its times.
function keyFromElsewhere(
  key: SigningKey,
  told: readonly StatusKey[],
  published: readonly PublicJWK[],
): SigningKey[] {
  const status = told.find(({ keyID, state }) => keyID === key.kid && state !== 'Revoked');
  const isPublished = published.some((other) => other.kid === key.kid && isSameKey(other, key.privateKey));
  const isNamed = isPublished || (status !== undefined && key.kid === thumbprint(key.privateKey));
  const publicKey = { ...publicHalf(key.privateKey), kid: key.kid, alg: key.alg, use: 'sig' } as PublicJWK;
  if (!isNamed || !worksWith(key.privateKey, publicKey)) return [];
  const { activeTime = key.activateAt, signUntilTime = key.signUntil } = status ?? {};
  return [{ ...key, activateAt: activeTime, signUntil: signUntilTime }];
}

function revokedKey(key: StatusKey): RevokedKey {
  const instant = (text: string | undefined) => (text === undefined ? 0 : Date.parse(text));
  return {
    kid: key.keyID,
    algorithm: key.algorithm as Algorithm,
    revokedAt: instant(key.removalTime),
    safeAt: instant(key.revokedSafeTime),
    safeAtWorst: instant(key.revokedSafeAtWorstTime),
  };
}
