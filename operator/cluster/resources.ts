import { group } from '../api/names.ts';

/** A Kubernetes object as plain JSON. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace: string;
    uid?: string;
    resourceVersion?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    ownerReferences?: { apiVersion: string; kind: string; name: string; uid: string; controller?: boolean }[];
    deletionTimestamp?: string;
    [member: string]: unknown;
  };
  [member: string]: unknown;
}

/** A list answer of the API server; its items lack `apiVersion` and `kind`. */
export interface KubeList {
  /** `continue` asks for the next page, where there is one. */
  metadata: { resourceVersion: string; continue?: string };
  items: KubeObject[];
}

/** A kind of object and where it lies in the API. */
export interface Resource {
  apiVersion: string;
  kind: string;
  plural: string;
}

/** The kinds that the operator reads or writes, and no others. */
export const resources = {
  issuers: { apiVersion: `${group}/v1alpha1`, kind: 'MacpAuthIssuer', plural: 'macpauthissuers' },
  secrets: { apiVersion: 'v1', kind: 'Secret', plural: 'secrets' },
  configMaps: { apiVersion: 'v1', kind: 'ConfigMap', plural: 'configmaps' },
  services: { apiVersion: 'v1', kind: 'Service', plural: 'services' },
  pods: { apiVersion: 'v1', kind: 'Pod', plural: 'pods' },
  deployments: { apiVersion: 'apps/v1', kind: 'Deployment', plural: 'deployments' },
  podDisruptionBudgets: {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    plural: 'poddisruptionbudgets',
  },
  namespaces: { apiVersion: 'v1', kind: 'Namespace', plural: 'namespaces' },
  events: { apiVersion: 'events.k8s.io/v1', kind: 'Event', plural: 'events' },
  leases: { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', plural: 'leases' },
} as const satisfies Record<string, Resource>;

/**
 * Path of a collection or of one object in it. Without a namespace it is all namespaces', or that of a kind that is in
 * none.
 */
export function resourcePath(resource: Resource, namespace?: string, name?: string): string {
  const root = resource.apiVersion === 'v1' ? '/api/v1' : `/apis/${resource.apiVersion}`;
  const scope = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${root}${scope}/${resource.plural}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`;
}
