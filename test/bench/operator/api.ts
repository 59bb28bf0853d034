import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { labels, managedBy } from '../../../operator/api/names.ts';
import type { ApiClient } from '../../../operator/cluster/client.ts';
import { type Resource, resourcePath, resources } from '../../../operator/cluster/resources.ts';
import { forEach } from './issuers.ts';

interface Place {
  namespace: string;
  name: string;
}

/** A merge patch of an object's status, which the operator itself applies. */
export async function patchStatus(
  client: ApiClient,
  resource: Resource,
  { namespace, name }: Place,
  status: object,
): Promise<void> {
  const contentType = 'application/merge-patch+json';
  const path = `${resourcePath(resource, namespace, name)}/status`;
  await text(await client.open('PATCH', path, { body: { status }, contentType }));
}

/** Makes a node, which nobody runs: a pod that is bound to none would be collected. */
export async function createNode(client: ApiClient, name: string): Promise<void> {
  const body = { apiVersion: 'v1', kind: 'Node', metadata: { name } };
  await text(await client.open('POST', '/api/v1/nodes', { body }));
}

/** Binds a pod to a node, as the scheduler does. */
export async function bind(client: ApiClient, { namespace, name }: Place, node: string): Promise<void> {
  const body = {
    apiVersion: 'v1',
    kind: 'Binding',
    metadata: { namespace, name },
    target: { apiVersion: 'v1', kind: 'Node', name: node },
  };
  await text(await client.open('POST', `${resourcePath(resources.pods, namespace, name)}/binding`, { body }));
}

const replicaSets = { apiVersion: 'apps/v1', kind: 'ReplicaSet', plural: 'replicasets' } as const;

/** Takes away what issuers became, without the operator's help, and waits until nothing is left of it. */
export async function wipe(client: ApiClient, namespaces: readonly string[]): Promise<void> {
  const ours = { labelSelector: `${labels.managedBy}=${managedBy}` };
  for (const namespace of namespaces) {
    const { items } = await client.list(resources.issuers, namespace, {});
    await forEach(items, ({ metadata: { name } }) =>
      client.mergePatch(resources.issuers, namespace, name, { metadata: { finalizers: null } }),
    );
  }
  const kinds: [Resource, Record<string, string>][] = [
    [resources.issuers, {}],
    [resources.deployments, ours],
    [replicaSets, ours],
    [resources.pods, ours],
    [resources.services, ours],
    [resources.podDisruptionBudgets, ours],
    [resources.configMaps, ours],
    [resources.secrets, ours],
    [resources.events, {}],
  ];
  // A controller that did not know yet what goes may have made something anew.
  for (let left = Number.POSITIVE_INFINITY; left > 0; await sleep(1_000)) {
    for (const [resource, query] of kinds)
      await forEach(namespaces, async (namespace) => {
        const path = resourcePath(resource, namespace);
        await text(await client.open('DELETE', path, { query: { ...query, gracePeriodSeconds: '0' } }));
      });
    await sleep(1_000);
    const counts = await Promise.all(
      kinds.map(async ([resource, query]) =>
        resource === resources.events ? 0 : (await client.list(resource, undefined, query)).items.length,
      ),
    );
    left = counts.reduce((sum, count) => sum + count, 0);
  }
}
