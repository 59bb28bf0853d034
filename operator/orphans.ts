import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import { type IssuerKey, issuerOfLabel, labels, type MacpAuthIssuer, managedBy } from './api/names.ts';
import { type ApiClient, ApiError } from './cluster/client.ts';
import { startInformer } from './cluster/informer.ts';
import { type KubeObject, resources } from './cluster/resources.ts';
import { isReserved } from './plan/selection.ts';
import { type ObjectEvent, writeEvent } from './status/events.ts';

/** What it takes to tell whether a pod's issuer has keys for it. */
export interface OrphanFacts {
  /** Whether all issuers of a namespace are known. */
  knowsIssuers: (namespace: string) => boolean;
  issuer: (key: IssuerKey) => MacpAuthIssuer | undefined;
  /** Whether an issuer has agents in a namespace. */
  selects: (issuer: MacpAuthIssuer, namespace: string) => boolean;
  /** Whether an issuer may have agents in other namespaces than its own. */
  isTrusted: (issuer: MacpAuthIssuer) => boolean;
}

/** A pod may be created in one breath with its issuer, which is no reason to tell anything. */
const patienceMs = 5_000;
/** How long the API server keeps an Event, as it comes: afterwards nobody would see why the pod waits. */
const retellMs = 3_600_000;

/**
 * Tells people why an agent pod waits: an Event on each labelled pod whose issuer does not exist, or has no agents in the
 * pod's namespace. One Event for each pod, reason and hour of the pod's age, by a name that follows from these, so that
 * neither a restart nor a second operator tells it twice.
 */
export function tellOrphans(
  options: OrphanFacts & {
    client: ApiClient;
    /** The namespaces whose pods are looked at; undefined: all. */
    namespaces: readonly string[] | undefined;
    /** Milliseconds since the Unix epoch. */
    now: () => number;
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
      keep: ({ spec: _, status, ...pod }) => ({ ...pod, status: { phase: phaseOf(status) } }) as KubeObject,
      // Looked at all together now and then: an issuer that comes or goes changes no pod.
      onChange: () => {},
      log,
      signal,
    }),
  );
  const told = new Set<string>();

  const look = async () => {
    const now = options.now();
    const pods = informers.flatMap((informer) => informer.list());
    const current = new Set(pods.map((pod) => hourOf(pod, now)));
    for (const entry of told) if (!current.has(entry.slice(0, entry.lastIndexOf(' ')))) told.delete(entry);
    for (const pod of pods) {
      const event = judgeOrphan(pod, options, now);
      const entry = `${hourOf(pod, now)} ${event?.reason}`;
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
        if (!(error instanceof ApiError) || error.code >= 500 || error.code === 429) told.delete(entry);
      });
    }
  };
  let looking = Promise.resolve();
  const timer = setInterval(() => {
    looking = looking.then(look);
  }, options.lookMs ?? 5_000);
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });
}

const hourOf = ({ metadata }: KubeObject, now: number): string =>
  `${metadata.uid} ${Math.floor((now - Date.parse(String(metadata.creationTimestamp))) / retellMs)}`;

const phaseOf = (status: unknown): string | undefined => (status as { phase?: string } | undefined)?.phase;

/** What to tell of a pod with our label; undefined when its issuer has keys for it, or that cannot be known. */
export function judgeOrphan(
  { metadata, status }: KubeObject,
  { knowsIssuers, issuer, selects, isTrusted }: OrphanFacts,
  now: number,
): ObjectEvent | undefined {
  const phase = phaseOf(status);
  const isOver = metadata.deletionTimestamp !== undefined || phase === 'Succeeded' || phase === 'Failed';
  if (isOver || now - Date.parse(String(metadata.creationTimestamp)) < patienceMs) return undefined;

  const label = metadata.labels?.[labels.issuer];
  const key = issuerOfLabel(label);
  const type = 'Warning';
  if (!key) {
    const note = `the label ${labels.issuer} is '${label}': set it to <namespace>.<name> of a MacpAuthIssuer in the pod's template`;
    return { type, reason: 'IssuerLabelMalformed', note };
  }
  if (!knowsIssuers(key.namespace)) return undefined;
  const found = issuer(key);
  if (!found) {
    const note = `there is no MacpAuthIssuer ${key.name} in namespace ${key.namespace}, so this pod gets no keys: create it, or correct the label ${labels.issuer} in the pod's template (kubectl get mai -A lists all issuers)`;
    return { type, reason: 'IssuerNotFound', note };
  }
  if (selects(found, metadata.namespace)) return undefined;
  const remedy = remedyIn(metadata.namespace, key, isTrusted(found));
  const note = `MacpAuthIssuer ${key.namespace}/${key.name} has no agents in namespace ${metadata.namespace}, so this pod gets no keys: ${remedy} in the label ${labels.issuer} of the pod's template`;
  return { type, reason: 'NamespaceNotSelected', note };
}

// What to do in a namespace that the issuer has no agents in; never what would change nothing, such as to set a selector that
// is ignored.
function remedyIn(namespace: string, { namespace: own }: IssuerKey, isTrusted: boolean): string {
  if (isReserved(namespace))
    return `namespaces whose names begin with kube- get no keys from elsewhere, so run the pod in ${own}, or name an issuer of this namespace`;
  if (isTrusted) return 'have its spec.agents.namespaceSelector select the namespace, or name another issuer';
  return `the operator does not let issuers in ${own} have agents elsewhere (--trusted-namespaces), so run the pod in ${own}, or name an issuer of this namespace or of a trusted one`;
}
