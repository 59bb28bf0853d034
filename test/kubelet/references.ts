import type { KubeConfig, V1ConfigMap, V1Secret } from '@kubernetes/client-node';
import type { Lookup } from './environment.ts';
import { follow } from './follow.ts';

type Kind = 'secrets' | 'configmaps';

interface Entry {
  synced: boolean;
  values: Record<string, Buffer> | undefined;
  listeners: Set<() => void>;
  stop(): void;
}

/**
 * The Secrets and ConfigMaps that pods name, each watched alone and only while a pod names it: as a kubelet does, so
 * that the audit log shows who reads which Secret.
 */
export class References {
  readonly #kubeConfig: KubeConfig;
  readonly #entries = new Map<string, Entry>();

  constructor(kubeConfig: KubeConfig) {
    this.#kubeConfig = kubeConfig;
  }

  /** Watches an object and calls `changed` at each change, until the returned function is called. */
  acquire(namespace: string, kind: Kind, name: string, changed: () => void): () => void {
    const path = `/api/v1/namespaces/${namespace}/${kind}`;
    const key = `${path}/${name}`;
    const entry = this.#entries.get(key) ?? this.#watch(key, path, name);
    entry.listeners.add(changed);
    return () => {
      entry.listeners.delete(changed);
      if (entry.listeners.size > 0) return;
      entry.stop();
      this.#entries.delete(key);
    };
  }

  /** Whether it is known yet if the object exists. */
  isSynced(namespace: string, kind: Kind, name: string): boolean {
    return this.#entries.get(`/api/v1/namespaces/${namespace}/${kind}/${name}`)?.synced ?? false;
  }

  /** Looks an acquired object's values up. */
  lookup(namespace: string): Lookup {
    return (kind, name) => this.#entries.get(`/api/v1/namespaces/${namespace}/${kind}/${name}`)?.values;
  }

  stop(): void {
    for (const entry of this.#entries.values()) entry.stop();
  }

  #watch(key: string, path: string, name: string): Entry {
    const entry: Entry = { synced: false, values: undefined, listeners: new Set(), stop: () => watch.stop() };
    const put = (values: Entry['values']) => {
      entry.values = values;
      entry.synced = true;
      for (const changed of [...entry.listeners]) changed();
    };
    const watch = follow<V1Secret & V1ConfigMap>(
      this.#kubeConfig,
      path,
      { fieldSelector: `metadata.name=${name}` },
      {
        replace: ([item]) => put(item && valuesOf(item, path.endsWith('secrets'))),
        set: (item) => put(valuesOf(item, path.endsWith('secrets'))),
        remove: () => put(undefined),
      },
    );
    this.#entries.set(key, entry);
    return entry;
  }
}

function valuesOf(item: V1Secret & V1ConfigMap, secret: boolean): Record<string, Buffer> {
  const decode = (values: Record<string, string> | undefined, encoding: 'base64' | 'utf8') =>
    Object.entries(values ?? {}).map(([key, value]) => [key, Buffer.from(value, encoding)] as const);
  return Object.fromEntries([
    ...decode(item.data, secret ? 'base64' : 'utf8'),
    ...decode(item.binaryData, 'base64'),
  ]);
}
