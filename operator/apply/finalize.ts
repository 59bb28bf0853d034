import { Superseded } from '../api/errors.ts';
import { annotations, finalizer, type IssuerKey, type MacpAuthIssuer, objectNames } from '../api/names.ts';
import { secretTypes } from '../build/files.ts';
import { type ApiClient, isNamespaceTerminating, isStatus } from '../cluster/client.ts';
import { type KubeObject, resources } from '../cluster/resources.ts';
import { observeKeyring } from '../observe/keyring.ts';
import { noChildren } from '../observe/world.ts';
import { nothingTellsOfKeys } from '../plan/recovery.ts';
import type { IssuerEvent } from '../status/events.ts';
import { settleKeyring } from './keyring.ts';

/** Puts our finalizer on an issuer that lacks it, before anything exists that it would have to clean up. */
export async function addFinalizer(client: ApiClient, issuer: MacpAuthIssuer): Promise<MacpAuthIssuer> {
  const { namespace, name, resourceVersion, finalizers = [] } = issuer.metadata;
  if (finalizers.includes(finalizer)) return issuer;
  return patchFinalizers(client, { namespace, name }, resourceVersion, [...finalizers, finalizer]);
}

/**
 * Cleans up after an issuer that is being deleted, then lets it go. Owned children are the garbage collector's; the
 * agent Secret has no owner; the keyring stays unless `deletionPolicy` says Delete. Where the keyring that stays is not
 * whole, the agent Secret stays too, as the last that holds a key; the Event that says so is returned.
 */
export async function finalize(
  client: ApiClient,
  cached: MacpAuthIssuer,
  now: number,
): Promise<IssuerEvent | undefined> {
  const { namespace, name, uid } = cached.metadata;
  // What a cache says of an issuer that is long gone must not take the keys of the one that has its name now.
  const issuer = await client.find<MacpAuthIssuer>(resources.issuers, namespace, name);
  if (issuer?.metadata.uid !== uid || !issuer.metadata.deletionTimestamp) return undefined;
  const { finalizers = [] } = issuer.metadata;
  if (!finalizers.includes(finalizer)) return undefined;
  const names = objectNames(issuer.metadata);
  const problem =
    issuer.spec.deletionPolicy === 'Retain' ? await whyNotRetained(client, issuer, now) : undefined;
  if (problem === undefined) await deleteSecret(client, namespace, names.agentSecret, secretTypes.agent);
  else await markRetained(client, namespace, names.agentSecret);
  if (issuer.spec.deletionPolicy === 'Delete') {
    await deleteSecret(client, namespace, names.keyring, secretTypes.keyring);
    await deletePublished(client, issuer);
  }
  await removeFinalizer(client, issuer);
  if (problem === undefined) return undefined;
  const note = `the keyring is not whole, so Secret ${names.agentSecret} stays with it for the next issuer of this name: ${problem}`;
  return { type: 'Warning', reason: 'AgentSecretRetained', note };
}

// Rebuilds the keyring from what agents hold, where it can be; says why it is not whole otherwise.
async function whyNotRetained(
  client: ApiClient,
  issuer: MacpAuthIssuer,
  now: number,
): Promise<string | undefined> {
  const { observed, traces } = await observeKeyring(client, issuer);
  if (observed.state === 'absent' && nothingTellsOfKeys(traces)) return undefined;
  const outcome = await settleKeyring({ client, issuer, children: noChildren, served: [], now });
  // In a namespace that goes, nothing can be created, and nothing has to be kept.
  if (isNamespaceTerminating(outcome.failure)) return undefined;
  if (outcome.failure !== undefined) throw outcome.failure;
  return outcome.keyring ? undefined : outcome.judgement.message;
}

async function markRetained(client: ApiClient, namespace: string, name: string): Promise<void> {
  const secret = await client.find(resources.secrets, namespace, name);
  if (secret?.type !== secretTypes.agent) return;
  const patch = { metadata: { annotations: { [annotations.retained]: 'true' } } };
  await client.mergePatch(resources.secrets, namespace, name, patch);
}

async function removeFinalizer(client: ApiClient, { metadata }: MacpAuthIssuer): Promise<void> {
  const { namespace, name, resourceVersion, finalizers = [] } = metadata;
  const others = finalizers.filter((other) => other !== finalizer);
  try {
    await patchFinalizers(client, { namespace, name }, resourceVersion, others);
  } catch (error) {
    if (!isStatus(error, 404)) throw error;
  }
}

/** Removes an agent Secret that outlived its issuer, such as one that a paused operator wrote too late. */
export async function cleanUpAfter(
  client: ApiClient,
  key: IssuerKey,
  agentSecret: KubeObject | undefined,
): Promise<void> {
  if (agentSecret?.type !== secretTypes.agent) return;
  if (agentSecret.metadata.annotations?.[annotations.retained] !== undefined) return;
  if (await client.find(resources.issuers, key.namespace, key.name)) return;
  // The very one that was seen: a new issuer of this name may have made its own meanwhile.
  await client.delete(resources.secrets, agentSecret);
}

// The garbage collector would take it too, but later: until then it tells the next issuer of this name of lost keys.
async function deletePublished(client: ApiClient, { metadata }: MacpAuthIssuer): Promise<void> {
  const configMap = await client.find(resources.configMaps, metadata.namespace, objectNames(metadata).server);
  const owned = configMap?.metadata.ownerReferences?.some(({ uid }) => uid === metadata.uid);
  if (configMap && owned) await client.delete(resources.configMaps, configMap);
}

async function deleteSecret(client: ApiClient, namespace: string, name: string, type: string): Promise<void> {
  const secret = await client.find(resources.secrets, namespace, name);
  if (secret?.type === type) await client.delete(resources.secrets, secret);
}

async function patchFinalizers(
  client: ApiClient,
  { namespace, name }: IssuerKey,
  resourceVersion: string,
  finalizers: string[],
): Promise<MacpAuthIssuer> {
  try {
    const patched = await client.mergePatch(resources.issuers, namespace, name, {
      metadata: { resourceVersion, finalizers },
    });
    return patched as unknown as MacpAuthIssuer;
  } catch (error) {
    if (isStatus(error, 409)) throw new Superseded('the issuer changed meanwhile');
    throw error;
  }
}
