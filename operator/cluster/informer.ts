import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type ApiClient, ApiError } from './client.ts';
import { within } from './deadline.ts';
import { type KubeObject, type Resource, resourcePath } from './resources.ts';

/** What an informer follows, and whom it tells. */
export interface InformerOptions {
  client: ApiClient;
  resource: Resource;
  /** Undefined: all namespaces, or a kind that is in none. */
  namespace: string | undefined;
  labelSelector?: string;
  fieldSelector?: string;
  /** Whether only the metadata of objects is asked for: the rest never leaves the API server. */
  metadataOnly?: boolean;
  /** What is kept of an object; what nobody reads is memory of each. `managedFields` go in any case. */
  keep?: (object: KubeObject) => KubeObject;
  /** The group that an object is in, for {@link Informer.group}. */
  groupOf?: (object: KubeObject) => string | undefined;
  /** How long the server is asked to let a watch last, in seconds; else 120 to 150, so that not all end at once. */
  watchSeconds?: number;
  /** How long after that time a watch that has not ended is taken for dead, in milliseconds. */
  watchGraceMs?: number;
  /** Called with each object that came, changed (from `before`) or went. Must not throw; it should only enqueue. */
  onChange: (object: KubeObject, before: KubeObject | undefined) => void;
  log: Logger;
  signal: AbortSignal;
}

/** A local, eventually consistent copy of a collection. */
export interface Informer<T = KubeObject> {
  get(namespace: string | undefined, name: string): T | undefined;
  list(): T[];
  /** The objects of one group, however many there are in others. */
  group(name: string): T[];
  /** Whether the collection was ever listed whole; before that, a missing object means nothing. */
  synced(): boolean;
  /** Whether the API server answered last that this may not be listed. */
  forbidden(): boolean;
  /** What the API server refused and how to mend it, while it does. */
  problem(): string | undefined;
}

const relistMs = 600_000;
// A list in one piece would be in memory twice, as text and as objects, whenever all is listed anew.
const pageSize = '250';
const maxBackoffMs = 10_000;
const shortWatchMs = 1_000;

/**
 * Follows a collection: list, then watch from the list's version, again and again until `signal` aborts.
 *
 * It lists anew after 410 Gone, any failure, and every ten minutes (what a watch lost comes back), waits longer after
 * each failure in a row, and keeps its last copy meanwhile.
 */
export function startInformer<T = KubeObject>(options: InformerOptions): Informer<T> {
  const { client, resource, namespace, signal, onChange, keep = (object) => object, groupOf } = options;
  const { watchSeconds, watchGraceMs = 20_000 } = options;
  const log = options.log.child({ resource: resource.plural, namespace });
  const objects = new Map<string, KubeObject>();
  const groups = new Map<string, Map<string, KubeObject>>();
  const { labelSelector, fieldSelector } = options;
  const selector = { ...(labelSelector && { labelSelector }), ...(fieldSelector && { fieldSelector }) };
  const acceptOf = (kind: string) =>
    options.metadataOnly ? { accept: `application/json;as=${kind};g=meta.k8s.io;v=v1` } : {};
  let synced = false;
  let forbidden = false;
  let problem: string | undefined;
  let failures = 0;

  const keyOf = (object: KubeObject) => `${object.metadata.namespace}/${object.metadata.name}`;

  const groupNameOf = (object: KubeObject | undefined) => object && groupOf?.(object);

  // What changes keeps its place, so that who looks at all of them sees them in the same order each time.
  function put(key: string, object: KubeObject): void {
    const [former, name] = [groupNameOf(objects.get(key)), groupNameOf(object)];
    if (former !== name) leaveGroup(key, former);
    objects.set(key, object);
    if (name === undefined) return;
    const group = groups.get(name) ?? new Map<string, KubeObject>();
    groups.set(name, group.set(key, object));
  }

  function drop(key: string): void {
    leaveGroup(key, groupNameOf(objects.get(key)));
    objects.delete(key);
  }

  function leaveGroup(key: string, name: string | undefined): void {
    if (name === undefined) return;
    const group = groups.get(name);
    group?.delete(key);
    if (group?.size === 0) groups.delete(name);
  }

  function replaceAll(next: ReadonlyMap<string, KubeObject>): void {
    const before = new Map(objects);
    const gone = [...before].filter(([key]) => !next.has(key));
    const changed = [...next].filter(([key, object]) => versionOf(before.get(key)) !== versionOf(object));
    for (const [key] of gone) drop(key);
    for (const [key, object] of changed) put(key, object);
    synced = true;
    forbidden = false;
    for (const [, object] of gone) onChange(object, undefined);
    for (const [key, object] of changed) onChange(object, before.get(key));
  }

  /** Lists all, page by page; resolves with the version to watch from. */
  async function list(): Promise<string> {
    const next = new Map<string, KubeObject>();
    let version = '';
    let rest: string | undefined;
    do {
      const query = { ...selector, limit: pageSize, ...(rest && { continue: rest }) };
      const { accept } = acceptOf('PartialObjectMetadataList');
      const { items, metadata } = await client.list(resource, namespace, query, accept);
      for (const item of items) next.set(keyOf(item), complete(item));
      version = metadata.resourceVersion;
      rest = metadata.continue;
    } while (rest);
    replaceAll(next);
    return version;
  }

  // List items lack their kind; nobody reads managedFields, which are often the larger part.
  const complete = ({ metadata: { managedFields: _, ...metadata }, ...item }: KubeObject): KubeObject =>
    keep({ ...item, apiVersion: resource.apiVersion, kind: resource.kind, metadata });

  function take(event: { type: string; object: KubeObject }): string | undefined {
    if (event.type === 'ERROR') {
      const status = event.object as unknown as { code?: number; reason?: string; message?: string };
      throw new ApiError(status.code ?? 0, status.reason ?? 'Unknown', status.message ?? 'the watch failed');
    }
    // It has nothing but the version that all changes were sent up to.
    if (event.type === 'BOOKMARK') return event.object.metadata.resourceVersion;
    const object = complete(event.object);
    const key = keyOf(object);
    const before = event.type === 'DELETED' ? undefined : objects.get(key);
    if (event.type === 'DELETED') drop(key);
    else put(key, object);
    onChange(object, before);
    return object.metadata.resourceVersion;
  }

  // One watch request; resolves with the version to go on from when the server ends it in good order.
  async function watch(from: string): Promise<string> {
    const seconds = watchSeconds ?? 120 + Math.floor(Math.random() * 31);
    const query = {
      ...selector,
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: from,
      timeoutSeconds: String(seconds),
    };
    // Silence says nothing: the server may have no newer version to send a bookmark of. What tells a dead connection is
    // that the end does not come, which is the server's to send.
    const work = async (signal: AbortSignal) => {
      const response = await client.open('GET', resourcePath(resource, namespace), {
        query,
        signal,
        ...acceptOf('PartialObjectMetadata'),
      });
      failures = 0;
      problem = undefined;
      let version = from;
      for await (const line of linesOf(response)) version = take(JSON.parse(line)) ?? version;
      return version;
    };
    return within(seconds * 1_000 + watchGraceMs, work, signal);
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        let version = await list();
        const relistAt = Date.now() + relistMs;
        while (Date.now() < relistAt && !signal.aborted) {
          const begun = Date.now();
          version = await watch(version);
          // A server that ends each watch at once is not asked in a tight loop.
          if (Date.now() - begun < shortWatchMs) await sleep(shortWatchMs, undefined, { signal });
        }
      } catch (error) {
        if (signal.aborted) return;
        const gone = error instanceof ApiError && error.code === 410;
        failures += 1;
        forbidden ||= error instanceof ApiError && error.code === 403;
        problem = explain(error, resource);
        if (!gone)
          log.warn(
            { reason: (error as Error).message, failures },
            problem ?? 'following failed; trying again',
          );
        const backoff = Math.min(maxBackoffMs, 250 * 2 ** Math.min(failures, 10));
        await sleep(backoff * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {});
      }
    }
  }

  void run();
  return {
    get: (objectNamespace, name) => objects.get(`${objectNamespace}/${name}`) as T | undefined,
    list: () => [...objects.values()] as T[],
    group: (name) => [...(groups.get(name)?.values() ?? [])] as T[],
    synced: () => synced,
    forbidden: () => forbidden,
    problem: () => problem,
  };
}

const versionOf = (object: KubeObject | undefined): string =>
  `${object?.metadata.uid}/${object?.metadata.resourceVersion}`;

function explain(error: unknown, resource: Resource): string | undefined {
  const code = error instanceof ApiError ? error.code : 0;
  if (code === 404)
    return `the API server does not know ${resource.plural}: apply the CRD (kubectl apply -f crds/)`;
  if (code === 403)
    return `the operator may not list and watch ${resource.plural}: grant it (as the chart does)`;
  return undefined;
}

// The stream itself is read, not through readline, which raises a late error of the stream where nobody can catch it.
async function* linesOf(stream: Readable): AsyncGenerator<string> {
  stream.setEncoding('utf8');
  let rest = '';
  for await (const chunk of stream) {
    const lines = `${rest}${chunk}`.split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}
