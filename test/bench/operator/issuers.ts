import type { IssuerKey, MacpAuthIssuer } from '../../../operator/api/names.ts';
import type { ApiClient } from '../../../operator/cluster/client.ts';
import { createLimiter } from '../../../operator/cluster/limiter.ts';
import { type KubeObject, resources } from '../../../operator/cluster/resources.ts';

/** How many requests whoever is not the operator has under way. More made nothing faster with two cores. */
export const requestsAtATime = 16;

// As with teams: a controller of Kubernetes that looks through a namespace would make one with all of them slow.
const issuersInANamespace = 20;

/** Where that many issuers lie, in namespaces with this prefix. */
export const issuerKeys = (prefix: string, count: number): IssuerKey[] =>
  Array.from({ length: count }, (_, i) => ({
    namespace: `${prefix}-${Math.floor(i / issuersInANamespace)}`,
    name: `issuer-${i}`,
  }));

/** The namespaces of some issuers. */
export const namespacesOf = (keys: readonly IssuerKey[]): string[] => [
  ...new Set(keys.map(({ namespace }) => namespace)),
];

/** The defaults, with short times for a rotation: otherwise it would take minutes until verifiers know a key. */
const spec = { rotation: { verifierCacheTTL: '1s', propagation: '1s', clockSkew: '1s' } };

/** An issuer as a user writes it. */
export const issuerObject = ({ namespace, name }: IssuerKey) => ({
  apiVersion: resources.issuers.apiVersion,
  kind: resources.issuers.kind,
  metadata: { namespace, name },
  spec,
});

/** Does something for each, some at a time. */
export async function forEach<T>(items: readonly T[], act: (item: T) => Promise<unknown>): Promise<void> {
  const limit = createLimiter(requestsAtATime);
  await Promise.all(items.map((item) => limit(() => act(item))));
}

/** Creates all of them at once. */
export const createIssuers = (client: ApiClient, keys: readonly IssuerKey[]): Promise<void> =>
  forEach(keys, (key) => client.create(resources.issuers, key.namespace, issuerObject(key)));

/** Asks all of them for a rotation. */
export const askForRotation = (client: ApiClient, keys: readonly IssuerKey[], value: string): Promise<void> =>
  forEach(keys, ({ namespace, name }) =>
    client.mergePatch(resources.issuers, namespace, name, { spec: { rotation: { rotateNow: value } } }),
  );

/** The status of a condition, and its reason. */
export const conditionOf = (issuer: MacpAuthIssuer, type: string) =>
  issuer.status?.conditions?.find((condition) => condition.type === type);

/** An object of the cluster as an issuer. */
export const asIssuer = (object: KubeObject): MacpAuthIssuer => object as unknown as MacpAuthIssuer;
