import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import { type IssuerKey, issuerOfLabel, labels, type MacpAuthIssuer, managedBy } from './api/names.ts';
import { type ApiClient, ApiError } from './cluster/client.ts';
import { startInformer } from './cluster/informer.ts';
import { type KubeObject, resources } from './cluster/resources.ts';
import { type ObjectEvent, writeEvent } from './status/events.ts';

/** What it takes to tell whether a pod's issuer has keys for it. */
export interface OrphanFacts {
  /** Namespaces whose issuers are known; undefined: all. */
  namespaces: readonly string[] | undefined;
  issuer: (key: IssuerKey) => MacpAuthIssuer | undefined;
  /** Whether an issuer has agents in a namespace. */
  selects: (issuer: MacpAuthIssuer, namespace: string) => boolean;
}

/** A pod may be created in one breath with its issuer, which is no reason to tell anything. */
const patienceMs = 5_000;

/**
 * Tells people why an agent pod waits: an Event on each labelled pod whose issuer does not exist, or has no agents in the
 * pod's namespace. One Event for each pod and reason, by a name that follows from both, so that neither a restart nor a
 * second operator tells it twice.
 */
export function tellOrphans(
  options: OrphanFacts & {
    client: ApiClient;
    /** Whether all issuers are known by now. */
    synced: () => boolean;
    /** How often all pods are looked at. */
    lookMs?: number;
    log: Logger;
    signal: AbortSignal;
  },
): void {
  const { client, log, signal } = options;
  const informers = (options.namespaces ?? [undefined]).map((namespace) =>
    startInformer({
      client,
      resource: resources.pods,
      namespace,
      // Without the pods of the JWKS servers, which have the label too.
      labelSelector: `${labels.issuer},${labels.managedBy}!=${managedBy}`,
      // Looked at all together now and then: an issuer that comes or goes changes no pod.
      onChange: () => {},
      log,
      signal,
    }),
  );
  const told = new Set<string>();

  const look = async () => {
    if (!options.synced()) return;
    const pods = informers.flatMap((informer) => informer.list());
    const uids = new Set(pods.map(({ metadata }) => metadata.uid));
    for (const entry of told) if (!uids.has(entry.split(' ')[0])) told.delete(entry);
    for (const pod of pods) {
      const event = judgeOrphan(pod, options, Date.now());
      const entry = `${pod.metadata.uid} ${event?.reason}`;
      if (!event || told.has(entry)) continue;
      told.add(entry);
      const suffix = createHash('sha256').update(entry).digest('hex').slice(0, 16);
      await writeEvent(client, pod, event, suffix).catch((error) => {
        // Its name is taken: told already.
        if (error instanceof ApiError && error.code === 409) return;
        const { namespace, name } = pod.metadata;
        log.warn(
          { pod: `${namespace}/${name}`, event: event.reason, reason: error.message },
          'an Event was not written',
        );
        // What the API server refuses it will go on refusing.
        if (!(error instanceof ApiError) || error.code >= 500) told.delete(entry);
      });
    }
  };
  let looking = Promise.resolve();
  const timer = setInterval(() => {
    looking = looking.then(look);
  }, options.lookMs ?? 5_000);
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });
}

/** What to tell of a pod with our label; undefined when its issuer has keys for it, or that cannot be known. */
export function judgeOrphan(
  { metadata, status }: KubeObject,
  { namespaces, issuer, selects }: OrphanFacts,
  now: number,
): ObjectEvent | undefined {
  const { phase } = (status ?? {}) as { phase?: string };
  const isOver = metadata.deletionTimestamp !== undefined || phase === 'Succeeded' || phase === 'Failed';
  if (isOver || now - Date.parse(String(metadata.creationTimestamp)) < patienceMs) return undefined;

  const label = metadata.labels?.[labels.issuer];
  const key = issuerOfLabel(label);
  const type = 'Warning';
  if (!key) {
    const note = `the label ${labels.issuer} is '${label}': set it to <namespace>.<name> of a MacpAuthIssuer in the pod's template`;
    return { type, reason: 'IssuerLabelMalformed', note };
  }
  if (namespaces && !namespaces.includes(key.namespace)) return undefined;
  const found = issuer(key);
  if (!found) {
    const note = `there is no MacpAuthIssuer ${key.name} in namespace ${key.namespace}, so this pod gets no keys: create it, or correct the label ${labels.issuer} in the pod's template (kubectl get mai -A lists all issuers)`;
    return { type, reason: 'IssuerNotFound', note };
  }
  if (selects(found, metadata.namespace)) return undefined;
  const note = `MacpAuthIssuer ${key.namespace}/${key.name} has no agents in namespace ${metadata.namespace}, so this pod gets no keys: have its spec.agents.namespaceSelector select the namespace, or name another issuer in the label ${labels.issuer} of the pod's template`;
  return { type, reason: 'NamespaceNotSelected', note };
}
