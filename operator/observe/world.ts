import type { Logger } from 'pino';
import { type IssuerKey, issuerLabel, type MacpAuthIssuer, objectNames } from '../api/names.ts';
import type { ApiClient } from '../cluster/client.ts';
import { type Informer, startInformer } from '../cluster/informer.ts';
import { type KubeObject, resources } from '../cluster/resources.ts';
import { tlsSecretType } from '../plan/certificate.ts';
import { matches, type NamespaceView } from '../plan/selection.ts';
import { type Kind, kinds } from './kinds.ts';
import { followAllNamespaces, pollNamespaces } from './namespaces.ts';

type Followed = keyof typeof kinds;

/** The cached world: issuers, and the objects that carry our labels. It lags, and never proves that a key is absent. */
export interface World {
  issuer(key: IssuerKey): MacpAuthIssuer | undefined;
  issuers(): MacpAuthIssuer[];
  /** What the cache holds of an issuer's objects. */
  children(key: IssuerKey): Children;
  /** The agent Secrets of an issuer in the cache, in whichever namespace. */
  agentSecrets(key: IssuerKey): KubeObject[];
  /** The namespaces whose Secrets were never listed: that the cache has none of them means nothing. */
  unseenSecrets(): string[] | 'all';
  /** The namespaces that the operator works in; undefined until it is known which there are. */
  namespaces(): NamespaceView[] | undefined;
  /** Whether all issuers of a namespace are known. */
  knowsIssuers(namespace: string): boolean;
  /**
   * Whether every kind was listed whole at least once. A namespace among several where the operator may not counts as
   * known, as long as it may in another.
   */
  synced(): boolean;
  /**
   * Why a kind cannot be followed, when the API server said so: a missing permission, a missing CRD. With a namespace,
   * what is wrong in others does not count.
   */
  problem(namespace?: string): string | undefined;
}

/** An issuer's objects in the cache. */
export interface Children {
  configMap: KubeObject | undefined;
  agentSecret: KubeObject | undefined;
  deployment: KubeObject | undefined;
  service: KubeObject | undefined;
  podDisruptionBudget: KubeObject | undefined;
  serverPods: KubeObject[];
}

/** What a cache says that holds nothing. */
export const noChildren: Children = {
  configMap: undefined,
  agentSecret: undefined,
  deployment: undefined,
  service: undefined,
  podDisruptionBudget: undefined,
  serverPods: [],
};

/** Starts the informers; `onChange` is told which issuer something happened to. */
export function followWorld(options: {
  client: ApiClient;
  namespaces: readonly string[] | undefined;
  onChange: (key: IssuerKey) => void;
  log: Logger;
  signal: AbortSignal;
}): World {
  const { client, namespaces, onChange, log, signal } = options;

  function follow(kind: Followed): Followers {
    const { issuerOf, ...options }: Kind = kinds[kind];
    return (namespaces ?? [undefined]).map((namespace) => ({
      namespace,
      informer: startInformer({
        ...options,
        client,
        namespace,
        onChange: (object, before) => {
          if (kind === 'issuers' && isStatusOnly(object, before)) return;
          const key = issuerOf(object);
          if (key) onChange(key);
        },
        log,
        signal,
      }),
    }));
  }

  const informers = Object.fromEntries(
    Object.keys(kinds).map((kind) => [kind, follow(kind as Followed)]),
  ) as Record<Followed, Followers>;

  const find = (kind: Followed, namespace: string, name: string): KubeObject | undefined => {
    for (const { informer } of informers[kind]) {
      const object = informer.get(namespace, name);
      if (object) return object;
    }
    return undefined;
  };
  const list = (kind: Followed): KubeObject[] => informers[kind].flatMap(({ informer }) => informer.list());
  const group = (kind: Followed, name: string): KubeObject[] =>
    informers[kind].flatMap(({ informer }) => informer.group(name));
  const issuers = () => list('issuers') as unknown as MacpAuthIssuer[];

  // That a certificate changed is all that is followed: what it is, a look reads by itself. So nobody's private key is here.
  const onCertificate = ({ metadata: { namespace, name } }: KubeObject) => {
    for (const { metadata, spec } of issuers())
      if (metadata.namespace === namespace && spec.server.tls?.secretName === name) onChange(metadata);
  };
  for (const namespace of namespaces ?? [undefined]) {
    startInformer({
      ...{ client, namespace, log, signal },
      resource: resources.secrets,
      fieldSelector: `type=${tlsSecretType}`,
      metadataOnly: true,
      keep: ({ apiVersion, kind, metadata: { name, namespace: of, uid, resourceVersion } }) =>
        ({ apiVersion, kind, metadata: { name, namespace: of, uid, resourceVersion } }) as KubeObject,
      onChange: onCertificate,
    });
  }

  const onNamespace = (after: NamespaceView | undefined, before: NamespaceView | undefined) => {
    if (after && before && sameJSON(after, before)) return;
    for (const { metadata, spec } of issuers()) {
      const selector = spec.agents?.namespaceSelector;
      const isSelected = (view: NamespaceView | undefined) =>
        selector !== undefined && view !== undefined && (!view.readable || matches(selector, view.labels));
      const isOwn = [after, before].some((view) => view?.name === metadata.namespace);
      if (isOwn || isSelected(after) || isSelected(before)) onChange(metadata);
    }
  };
  const following = { client, onChange: onNamespace, log, signal };
  const allNamespaces = namespaces
    ? pollNamespaces({ ...following, names: namespaces })
    : followAllNamespaces(following);

  return {
    issuer: ({ namespace, name }) => find('issuers', namespace, name) as MacpAuthIssuer | undefined,
    issuers,
    children(key) {
      const names = objectNames(key);
      return {
        configMap: find('configMaps', key.namespace, names.server),
        agentSecret: find('secrets', key.namespace, names.agentSecret),
        deployment: find('deployments', key.namespace, names.server),
        service: find('services', key.namespace, names.server),
        podDisruptionBudget: find('podDisruptionBudgets', key.namespace, names.server),
        serverPods: group('pods', issuerLabel(key)),
      };
    },
    agentSecrets: (key) => group('secrets', objectNames(key).agentSecret),
    unseenSecrets() {
      const unseen = informers.secrets.filter(({ informer }) => !informer.synced());
      const names = unseen.flatMap(({ namespace }) => namespace ?? []);
      return names.length < unseen.length ? 'all' : names;
    },
    namespaces: allNamespaces.list,
    knowsIssuers: (namespace) =>
      informers.issuers.some(
        (one) => [undefined, namespace].includes(one.namespace) && one.informer.synced(),
      ),
    synced: () => allNamespaces.list() !== undefined && Object.values(informers).every((all) => isKnown(all)),
    problem: (namespace) =>
      Object.values(informers)
        .flat()
        .filter((one) => [one.namespace, namespace].includes(undefined) || one.namespace === namespace)
        .map(({ informer }) => informer.problem())
        .find((problem) => problem !== undefined) ?? allNamespaces.problem(),
  };
}

type Followers = { namespace: string | undefined; informer: Informer }[];

const isKnown = (all: Followers): boolean =>
  all.some(({ informer }) => informer.synced()) &&
  all.every(({ informer }) => informer.synced() || informer.forbidden());

const sameJSON = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

// Our own status writes come back as events, and ask for nothing.
function isStatusOnly({ metadata }: KubeObject, before: KubeObject | undefined): boolean {
  const asked = (object: KubeObject['metadata'] | undefined) =>
    JSON.stringify([object?.uid, object?.generation, object?.deletionTimestamp, object?.finalizers]);
  return asked(metadata) === asked(before?.metadata);
}
