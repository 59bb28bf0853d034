import {
  type IssuerKey,
  issuerLabel,
  labels,
  type MacpAuthIssuer,
  managedBy,
  objectNames,
} from '../api/names.ts';
import { readDistributed, secretTypes } from '../build/files.ts';
import { type ApiClient, isStatus } from '../cluster/client.ts';
import { createLimiter, requestsAtATime } from '../cluster/limiter.ts';
import { type KubeObject, resources } from '../cluster/resources.ts';
import type { AgentNamespaces } from '../plan/agents.ts';
import { type NamespaceView, selectNamespaces } from '../plan/selection.ts';
import { readNamespace, unreadableNamespace } from './namespaces.ts';
import type { World } from './world.ts';

/** Whether an issuer may give keys to other namespaces than its own. */
export const isTrusted = ({ metadata }: MacpAuthIssuer, trustedNamespaces: readonly string[]): boolean =>
  trustedNamespaces.includes(metadata.namespace);

/** What selects other namespaces for an issuer: nothing where it may not have them. */
const selectorOf = (issuer: MacpAuthIssuer, trustedNamespaces: readonly string[]) =>
  isTrusted(issuer, trustedNamespaces) ? issuer.spec.agents?.namespaceSelector : undefined;

/** Whether an issuer has agents in a namespace, or that cannot be told now. */
export function mayHaveAgents(
  world: World,
  issuer: MacpAuthIssuer,
  trustedNamespaces: readonly string[],
  namespace: string,
): boolean {
  const views = world.namespaces()?.filter(({ name }) => name === namespace);
  const selection = selectNamespaces(issuer.metadata.namespace, selectorOf(issuer, trustedNamespaces), views);
  return !selection.unselected.includes(namespace);
}

/** What the cache tells of the namespaces that an issuer's agents may be in, its own aside. */
export function observeAgents(
  world: World,
  issuer: MacpAuthIssuer,
  trustedNamespaces: readonly string[],
  watched: readonly string[] | undefined,
): AgentNamespaces {
  const { namespace } = issuer.metadata;
  const selector = selectorOf(issuer, trustedNamespaces);
  const others = world
    .agentSecrets(issuer.metadata)
    .filter(({ metadata }) => metadata.namespace !== namespace);
  return {
    ...selectNamespaces(namespace, selector, world.namespaces()),
    held: others.map((secret) => ({ namespace: secret.metadata.namespace, keys: readDistributed(secret) })),
    unseen: world.unseenSecrets(),
    ...(selector && { selector }),
    ...(watched && { watched }),
  };
}

/**
 * The same, where it would change what the keyring says of a namespace, with the labels that the namespace has now: a
 * cache that lags, as it does by seconds where namespaces are polled, neither gives keys out nor takes them away.
 * `known`: the namespaces that the keyring names.
 */
export async function confirmAgents(
  client: ApiClient,
  { metadata }: MacpAuthIssuer,
  agents: AgentNamespaces,
  known: readonly string[],
): Promise<AgentNamespaces> {
  const { selector, selected, unselected, unknown } = agents;
  // Without a selector labels decide nothing.
  if (!selector || unknown === 'all') return agents;
  const before = new Set(known);
  const settled = new Set([
    ...selected.filter((name) => before.has(name)),
    ...unselected.filter((name) => !before.has(name)),
  ]);
  const changing = [...selected, ...unselected].filter((name) => !settled.has(name));
  if (changing.length === 0) return agents;
  const views: NamespaceView[] = [];
  const limit = createLimiter(requestsAtATime);
  const look = async (name: string) => {
    try {
      const view = await readNamespace(client, name);
      if (view) views.push(view);
    } catch (error) {
      // Where the operator may not look, what it saw before counts; an outage decides nothing.
      if (isStatus(error, 403)) settled.add(name);
      else views.push(unreadableNamespace(name));
    }
  };
  await Promise.all(changing.map((name) => limit(() => look(name))));
  const live = selectNamespaces(metadata.namespace, selector, views);
  const and = (names: readonly string[], others: readonly string[]) =>
    [...names.filter((name) => settled.has(name)), ...others].toSorted();
  return {
    ...agents,
    selected: and(selected, live.selected),
    unselected: and(unselected, live.unselected),
    unknown: unknown.concat(live.unknown),
  };
}

/**
 * Reads the agent Secrets of an issuer live, in the namespaces that the operator works in (undefined: all). One of these
 * that is gone, or where the operator may not, has none.
 */
export async function listAgentSecrets(
  client: ApiClient,
  key: IssuerKey,
  namespaces: readonly string[] | undefined,
): Promise<KubeObject[]> {
  const query = { labelSelector: `${labels.managedBy}=${managedBy},${labels.issuer}=${issuerLabel(key)}` };
  const listIn = async (namespace: string | undefined) => {
    try {
      return (await client.list(resources.secrets, namespace, query)).items;
    } catch (error) {
      const isOther = namespace !== undefined && namespace !== key.namespace;
      if (isOther && (isStatus(error, 403) || isStatus(error, 404))) return [];
      throw error;
    }
  };
  const lists = await Promise.all((namespaces ?? [undefined]).map(listIn));
  const { agentSecret } = objectNames(key);
  return lists
    .flat()
    .filter(({ type, metadata }) => type === secretTypes.agent && metadata.name === agentSecret);
}
