import { Superseded } from '../api/errors.ts';
import { annotations, finalizer, type IssuerKey, type MacpAuthIssuer, objectNames } from '../api/names.ts';
import { readDistributed, secretTypes } from '../build/files.ts';
import { type ApiClient, isNamespaceTerminating, isStatus } from '../cluster/client.ts';
import { createLimiter, requestsAtATime } from '../cluster/limiter.ts';
import { type KubeObject, resources } from '../cluster/resources.ts';
import { listAgentSecrets } from '../observe/agents.ts';
import { observeKeyring, readKeyring } from '../observe/keyring.ts';
import { noChildren } from '../observe/world.ts';
import type { AgentNamespaces } from '../plan/agents.ts';
import { nothingTellsOfKeys } from '../plan/recovery.ts';
import type { IssuerEvent } from '../status/events.ts';
import { settleKeyring } from './keyring.ts';

/** Puts our finalizer on an issuer that lacks it, before anything exists that it would have to clean up. */
export async function addFinalizer(client: ApiClient, issuer: MacpAuthIssuer): Promise<MacpAuthIssuer> {
  const { namespace, name, resourceVersion, finalizers = [] } = issuer.metadata;
  if (finalizers.includes(finalizer)) return issuer;
  return patchFinalizers(client, { namespace, name }, resourceVersion, [...finalizers, finalizer]);
}

/** What the end of an issuer needs to know. */
export interface FinalizeRequest {
  client: ApiClient;
  /** The issuer in the cache. */
  issuer: MacpAuthIssuer;
  /** The namespaces that the operator works in; undefined: all. */
  watchedNamespaces: readonly string[] | undefined;
  now: number;
}

/**
 * Cleans up after an issuer that is being deleted, then lets it go. Owned children are the garbage collector's; the
 * agent Secrets have no owner; the keyring stays unless `deletionPolicy` says Delete. Where the keyring that stays is not
 * whole, an agent Secret stays too, as the last that holds a key; the Event that says so is returned.
 */
export async function finalize(request: FinalizeRequest): Promise<IssuerEvent | undefined> {
  const { client } = request;
  const { namespace, name, uid } = request.issuer.metadata;
  // What a cache says of an issuer that is long gone must not take the keys of the one that has its name now.
  const issuer = await client.find<MacpAuthIssuer>(resources.issuers, namespace, name);
  if (issuer?.metadata.uid !== uid || !issuer.metadata.deletionTimestamp) return undefined;
  const { finalizers = [] } = issuer.metadata;
  if (!finalizers.includes(finalizer)) return undefined;
  const names = objectNames(issuer.metadata);
  const problem =
    issuer.spec.deletionPolicy === 'Retain' ? await whyNotRetained({ ...request, issuer }) : undefined;
  const secrets = await listAgentSecrets(client, issuer.metadata, request.watchedNamespaces);
  const own = await client.find(resources.secrets, namespace, names.agentSecret);
  const listed = secrets.filter(({ metadata }) => metadata.namespace !== namespace);
  const others = [...listed, ...(await findUnlabelled({ ...request, issuer }, listed))];
  const all = own?.type === secretTypes.agent ? [own, ...others] : others;
  const kept = problem === undefined ? [] : lastOfKeys(all, namespace);
  for (const secret of kept) await markRetained(client, secret);
  await deleteSecrets(
    client,
    namespace,
    all.filter((secret) => !kept.includes(secret)),
  );
  if (issuer.spec.deletionPolicy === 'Delete') {
    await deleteSecret(client, namespace, names.keyring, secretTypes.keyring);
    await deletePublished(client, issuer);
  }
  await removeFinalizer(client, issuer);
  if (kept.length === 0 || problem === undefined) return undefined;
  const note = `the keyring is not whole, so Secret ${names.agentSecret} stays with it for the next issuer of this name: ${problem}`;
  return { type: 'Warning', reason: 'AgentSecretRetained', note };
}

/**
 * Lets an issuer go whose namespace goes, also before it is deleted itself: with an operator that goes in the same
 * namespace nobody would be left to do that. What is in its namespace goes with it, and need not be readable any more.
 */
export async function leaveNamespace({
  client,
  issuer: cached,
  watchedNamespaces,
}: Omit<FinalizeRequest, 'now'>): Promise<void> {
  const { namespace, name } = cached.metadata;
  const issuer = await client.find<MacpAuthIssuer>(resources.issuers, namespace, name);
  if (!issuer?.metadata.finalizers?.includes(finalizer)) return;
  const others = watchedNamespaces?.filter((other) => other !== namespace);
  const secrets = await listAgentSecrets(client, issuer.metadata, others);
  await deleteSecrets(
    client,
    namespace,
    secrets.filter(({ metadata }) => metadata.namespace !== namespace),
  );
  await removeFinalizer(client, issuer);
}

// One that lost its labels is in no list: the keyring names the namespaces where it may be.
async function findUnlabelled(
  { client, issuer: { metadata }, watchedNamespaces }: FinalizeRequest,
  listed: readonly KubeObject[],
): Promise<KubeObject[]> {
  const names = objectNames(metadata);
  const observed = readKeyring(await client.find(resources.secrets, metadata.namespace, names.keyring));
  if (observed.state !== 'present') return [];
  const { namespaces, deselected } = observed.keyring;
  const seen = new Set(listed.map((secret) => secret.metadata.namespace));
  const unseen = [...new Set([...namespaces, ...deselected.map(({ namespace }) => namespace)])].filter(
    (namespace) => !seen.has(namespace) && watchedNamespaces?.includes(namespace) !== false,
  );
  const find = (namespace: string) =>
    client.find(resources.secrets, namespace, names.agentSecret).catch((error) => {
      if (isStatus(error, 403)) return undefined;
      throw error;
    });
  const limit = createLimiter(requestsAtATime);
  const found = await Promise.all(unseen.map((namespace) => limit(() => find(namespace))));
  return found.filter((secret) => secret !== undefined).filter(({ type }) => type === secretTypes.agent);
}

// One in the issuer's own namespace is enough, if it holds a key.
function lastOfKeys(secrets: readonly KubeObject[], own: string): KubeObject[] {
  const holding = secrets.filter((secret) => readDistributed(secret).length > 0);
  const first = holding.find(({ metadata }) => metadata.namespace === own);
  return first ? [first] : holding;
}

async function deleteSecrets(client: ApiClient, own: string, secrets: readonly KubeObject[]): Promise<void> {
  const limit = createLimiter(requestsAtATime);
  const remove = async (secret: KubeObject) => {
    try {
      await client.delete(resources.secrets, secret);
    } catch (error) {
      // Others' namespaces, in which the operator may not, hold up no issuer's end.
      if (secret.metadata.namespace === own || !isStatus(error, 403)) throw error;
    }
  };
  await Promise.all(secrets.map((secret) => limit(() => remove(secret))));
}

// Rebuilds the keyring from what agents hold, where it can be; says why it is not whole otherwise.
async function whyNotRetained(request: FinalizeRequest): Promise<string | undefined> {
  const { client, issuer, watchedNamespaces } = request;
  const { observed, traces } = await observeKeyring(client, issuer, watchedNamespaces);
  if (observed.state === 'absent' && nothingTellsOfKeys(traces)) return undefined;
  const agents: AgentNamespaces = { selected: [], unselected: [], unknown: 'all', held: [], unseen: 'all' };
  const outcome = await settleKeyring({ ...request, children: noChildren, agents, served: [] });
  // In a namespace that goes, nothing can be created, and nothing has to be kept.
  if (isNamespaceTerminating(outcome.failure)) return undefined;
  if (outcome.failure !== undefined) throw outcome.failure;
  return outcome.keyring ? undefined : outcome.judgement.message;
}

async function markRetained(client: ApiClient, { metadata }: KubeObject): Promise<void> {
  const patch = { metadata: { annotations: { [annotations.retained]: 'true' } } };
  await client.mergePatch(resources.secrets, metadata.namespace, metadata.name, patch);
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

/** Removes agent Secrets that outlived their issuer, such as one that a paused operator wrote too late. */
export async function cleanUpAfter(
  client: ApiClient,
  key: IssuerKey,
  agentSecrets: readonly KubeObject[],
): Promise<void> {
  const left = agentSecrets.filter(
    ({ type, metadata }) =>
      type === secretTypes.agent && metadata.annotations?.[annotations.retained] === undefined,
  );
  if (left.length === 0 || (await client.find(resources.issuers, key.namespace, key.name))) return;
  // The very ones that were seen: a new issuer of this name may have made its own meanwhile.
  await deleteSecrets(client, key.namespace, left);
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
