import { type IssuerKey, issuerLabel, issuerOfLabel, labels, managedBy } from '../api/names.ts';
import { secretTypes } from '../build/files.ts';
import { serverPodSelector } from '../build/server.ts';
import { type KubeObject, type Resource, resources } from '../cluster/resources.ts';

/** How the objects of a kind are followed. */
export interface Kind {
  resource: Resource;
  labelSelector?: string;
  /** The issuer that an object belongs to. */
  issuerOf: (object: KubeObject) => IssuerKey | undefined;
  /** What is kept in memory, where nobody reads the whole. */
  keep?: (object: KubeObject) => KubeObject;
  /** Under which name an object is looked up with others: with many issuers no look may go through those of all. */
  groupOf?: (object: KubeObject) => string | undefined;
}

const ours = {
  labelSelector: `${labels.managedBy}=${managedBy}`,
  issuerOf: ({ metadata }: KubeObject) => issuerOfLabel(metadata.labels?.[labels.issuer]),
};

const issuerOfServer = ({ metadata }: KubeObject): IssuerKey | undefined => {
  const name = metadata.labels?.[labels.instance];
  return name === undefined ? undefined : { namespace: metadata.namespace, name };
};

const withoutStatus = ({ status: _, ...object }: KubeObject): KubeObject => object;

/** An object with those members of its status that are named, and without its spec where `spec` is false. */
function withStatus(object: KubeObject, members: readonly string[], spec: boolean): KubeObject {
  const { status, spec: whole, ...rest } = object;
  const kept = Object.entries(status ?? {}).filter(([member]) => members.includes(member));
  return { ...rest, ...(spec && { spec: whole }), status: Object.fromEntries(kept) };
}

/** The kinds that are followed by informers. What is ours is compared as a whole with what it should be. */
export const kinds = {
  issuers: {
    resource: resources.issuers,
    issuerOf: ({ metadata }) => metadata,
    // kubectl keeps there what was applied last, once more.
    keep: ({ metadata: { annotations: _, ...metadata }, ...issuer }) =>
      ({ ...issuer, metadata }) as KubeObject,
  },
  secrets: {
    resource: resources.secrets,
    ...ours,
    // The keyring is read live at all times; and what is in no memory gets out of none.
    keep: ({ data, ...secret }) =>
      (secret.type === secretTypes.agent ? { ...secret, data } : secret) as KubeObject,
    groupOf: ({ type, metadata }) => (type === secretTypes.agent ? metadata.name : undefined),
  },
  configMaps: { resource: resources.configMaps, ...ours },
  services: { resource: resources.services, ...ours, keep: withoutStatus },
  deployments: {
    resource: resources.deployments,
    ...ours,
    keep: (deployment) => withStatus(deployment, ['conditions'], true),
  },
  podDisruptionBudgets: { resource: resources.podDisruptionBudgets, ...ours, keep: withoutStatus },
  pods: {
    resource: resources.pods,
    // By what puts them behind the Service: a stranger among them must be seen too.
    labelSelector: serverPodSelector,
    issuerOf: issuerOfServer,
    keep: (pod) => withStatus(pod, ['podIP', 'conditions', 'containerStatuses'], false),
    groupOf(pod) {
      const key = issuerOfServer(pod);
      return key && issuerLabel(key);
    },
  },
} satisfies Record<string, Kind>;
