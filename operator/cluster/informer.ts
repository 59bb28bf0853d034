import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type ApiClient, ApiError } from './client.ts';
import { type KubeObject, type Resource, resourcePath } from './resources.ts';

/** What an informer follows, and whom it tells. */
export interface InformerOptions {
  client: ApiClient;
  resource: Resource;
  /** Undefined: all namespaces, or a kind that is in none. */
  namespace: string | undefined;
  labelSelector?: string;
  /** Called with each object that came, changed (from `before`) or went. Must not throw; it should only enqueue. */
  onChange: (object: KubeObject, before: KubeObject | undefined) => void;
  log: Logger;
  signal: AbortSignal;
}

/** A local, eventually consistent copy of a collection. */
export interface Informer<T = KubeObject> {
  get(namespace: string | undefined, name: string): T | undefined;
  list(): T[];
  /** Whether the collection was ever listed whole; before that, a missing object means nothing. */
  synced(): boolean;
  /** Whether the API server answered last that this may not be listed. */
  forbidden(): boolean;
  /** What the API server refused and how to mend it, while it does. */
  problem(): string | undefined;
}

const relistMs = 600_000;
const idleTimeoutMs = 150_000;
const maxBackoffMs = 10_000;
const shortWatchMs = 1_000;

/**
 * Follows a collection: list, then watch from the list's version, again and again until `signal` aborts.
 *
 * It lists anew after 410 Gone, any failure, and every ten minutes (what a watch lost comes back), waits longer after
 * each failure in a row, and keeps its last copy meanwhile.
 */
export function startInformer<T = KubeObject>(options: InformerOptions): Informer<T> {
  const { client, resource, namespace, signal, onChange } = options;
  const log = options.log.child({ resource: resource.plural, namespace });
  const objects = new Map<string, KubeObject>();
  const selector: Record<string, string> = options.labelSelector
    ? { labelSelector: options.labelSelector }
    : {};
  let synced = false;
  let forbidden = false;
  let problem: string | undefined;
  let failures = 0;

  const keyOf = (object: KubeObject) => `${object.metadata.namespace}/${object.metadata.name}`;

  function replaceAll(items: KubeObject[]): void {
    const next = new Map(items.map((item) => [keyOf(item), complete(item)]));
    const before = new Map(objects);
    const gone = [...before].filter(([key]) => !next.has(key));
    const changed = [...next].filter(([key, object]) => versionOf(before.get(key)) !== versionOf(object));
    objects.clear();
    for (const [key, object] of next) objects.set(key, object);
    synced = true;
    forbidden = false;
    for (const [, object] of gone) onChange(object, undefined);
    for (const [key, object] of changed) onChange(object, before.get(key));
  }

  // List items lack their kind; nobody reads managedFields, which are often the larger part.
  const complete = ({ metadata: { managedFields: _, ...metadata }, ...item }: KubeObject): KubeObject => ({
    ...item,
    apiVersion: resource.apiVersion,
    kind: resource.kind,
    metadata,
  });

  function take(event: { type: string; object: KubeObject }): string | undefined {
    if (event.type === 'ERROR') {
      const status = event.object as unknown as { code?: number; reason?: string; message?: string };
      throw new ApiError(status.code ?? 0, status.reason ?? 'Unknown', status.message ?? 'the watch failed');
    }
    const object = complete(event.object);
    const before = event.type === 'DELETED' ? undefined : objects.get(keyOf(object));
    if (event.type === 'DELETED') objects.delete(keyOf(object));
    else if (event.type !== 'BOOKMARK') objects.set(keyOf(object), object);
    if (event.type !== 'BOOKMARK') onChange(object, before);
    return object.metadata.resourceVersion;
  }

  // One watch request; resolves with the version to go on from when the server ends it in good order.
  async function watch(from: string): Promise<string> {
    const query = {
      ...selector,
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: from,
      timeoutSeconds: String(240 + Math.floor(Math.random() * 60)),
    };
    const response = await client.open('GET', resourcePath(resource, namespace), {
      query,
      signal,
    });
    failures = 0;
    problem = undefined;
    // Bookmarks come about once a minute: silence for longer is a dead connection.
    response.setTimeout(idleTimeoutMs, () => response.destroy(new Error('the watch fell silent')));
    let version = from;
    for await (const line of linesOf(response)) version = take(JSON.parse(line)) ?? version;
    return version;
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        const list = await client.list(resource, namespace, selector);
        replaceAll(list.items);
        const relistAt = Date.now() + relistMs;
        let version = list.metadata.resourceVersion;
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
    return `the operator may not list and watch ${resource.plural}: grant it (operator/rbac.yaml)`;
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
