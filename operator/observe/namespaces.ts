import type { Logger } from 'pino';
import { type ApiClient, briefly } from '../cluster/client.ts';
import { startInformer } from '../cluster/informer.ts';
import { type KubeObject, resources } from '../cluster/resources.ts';
import { type NamespaceView, nameLabel } from '../plan/selection.ts';

/** The namespaces that the operator works in. */
export interface Namespaces {
  /** Undefined until it is known which there are. */
  list(): NamespaceView[] | undefined;
  /** Why they cannot be followed, when the API server said so. */
  problem(): string | undefined;
}

interface FollowOptions {
  client: ApiClient;
  /** Told of a namespace that came, changed (from `before`) or went (`after` is undefined). */
  onChange: (after: NamespaceView | undefined, before: NamespaceView | undefined) => void;
  log: Logger;
  signal: AbortSignal;
}

const pollMs = 15_000;

const viewOf = ({ metadata }: KubeObject): NamespaceView => ({
  name: metadata.name,
  labels: metadata.labels ?? {},
  terminating: metadata.deletionTimestamp !== undefined,
  readable: true,
});

/** Reads a namespace as it is now; undefined where there is none. */
export async function readNamespace(client: ApiClient, name: string): Promise<NamespaceView | undefined> {
  const object = await client.find(resources.namespaces, undefined, name);
  return object && viewOf(object);
}

/** What is known of a namespace that cannot be read: its name, and the label that follows from it. */
export const unreadableNamespace = (name: string): NamespaceView => ({
  name,
  labels: { [nameLabel]: name },
  terminating: false,
  readable: false,
});

/** Follows all namespaces, which takes a permission for the whole cluster. */
export function followAllNamespaces({ client, onChange, log, signal }: FollowOptions): Namespaces {
  const views = new Map<string, NamespaceView>();
  // Every look at an issuer asks for all of them.
  let list: NamespaceView[] | undefined;
  const informer = startInformer({
    client,
    resource: resources.namespaces,
    namespace: undefined,
    onChange: ({ metadata: { name } }) => {
      const object = informer.get(undefined, name);
      const after = object && viewOf(object);
      const before = views.get(name);
      if (after) views.set(name, after);
      else views.delete(name);
      list = undefined;
      onChange(after, before);
    },
    log,
    signal,
  });
  return {
    list() {
      if (!informer.synced()) return undefined;
      list ??= informer.list().map(viewOf);
      return list;
    },
    problem: informer.problem,
  };
}

/**
 * Looks at some namespaces, one by one and again and again: a Role in a namespace can allow to read it, but not to watch
 * it. Of one that may not be read only the name is known.
 */
export function pollNamespaces({
  names,
  client,
  onChange,
  log,
  signal,
}: FollowOptions & { names: readonly string[] }): Namespaces {
  const views = new Map<string, NamespaceView>();
  let complete = false;

  const look = async (name: string): Promise<void> => {
    const before = views.get(name);
    let after: NamespaceView | undefined;
    try {
      after = await readNamespace(client, name);
    } catch (error) {
      log.debug({ namespace: name, reason: briefly(error) }, 'the namespace cannot be read');
      // What was read once goes on being so: neither an outage nor a lost permission changes labels.
      after = before ?? unreadableNamespace(name);
    }
    if (after) views.set(name, after);
    else views.delete(name);
    if (complete) onChange(after, before);
  };

  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      await Promise.all(names.map(look));
      if (!complete) {
        complete = true;
        for (const view of views.values()) onChange(view, undefined);
      }
      await new Promise((resolve) => setTimeout(resolve, pollMs).unref());
    }
  };
  void run();
  return {
    list: () => (complete ? [...views.values()] : undefined),
    problem: () => undefined,
  };
}
