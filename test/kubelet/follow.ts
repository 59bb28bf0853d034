import { setTimeout as sleep } from 'node:timers/promises';
import { type KubeConfig, type KubernetesObject, Watch } from '@kubernetes/client-node';

/** What a follower is told: everything there is (first, and after each reconnect), then each change. */
export interface Follower<T> {
  replace(items: T[]): void;
  set(item: T): void;
  remove(item: T): void;
}

/**
 * Follows a collection until it is stopped, through closed connections and outages of the API server. Objects come as
 * the API server's JSON: times are strings.
 */
export function follow<T extends KubernetesObject>(
  kubeConfig: KubeConfig,
  path: string,
  query: Record<string, string>,
  follower: Follower<T>,
): { stop(): void } {
  const stopped = new AbortController();
  const once = () =>
    new Promise<void>((resolve) => {
      let initial: T[] | undefined = [];
      const onEvent = (type: string, item: T) => {
        if (stopped.signal.aborted) return;
        if (initial) {
          if (type === 'ADDED') initial.push(item);
          if (item.metadata?.annotations?.['k8s.io/initial-events-end']) {
            follower.replace(initial);
            initial = undefined;
          }
        } else if (type === 'DELETED') follower.remove(item);
        else if (type !== 'BOOKMARK' && type !== 'ERROR') follower.set(item);
      };
      const streamList = {
        sendInitialEvents: 'true',
        resourceVersionMatch: 'NotOlderThan',
        allowWatchBookmarks: 'true',
      };
      new Watch(kubeConfig)
        .watch(path, { ...streamList, ...query }, onEvent, () => resolve())
        .then(
          (request) => {
            if (stopped.signal.aborted) request.abort();
            stopped.signal.addEventListener('abort', () => request.abort());
          },
          () => resolve(),
        );
      stopped.signal.addEventListener('abort', () => resolve());
    });
  (async () => {
    while (!stopped.signal.aborted) {
      await once();
      await sleep(200, undefined, { signal: stopped.signal }).catch(() => {});
    }
  })();
  return { stop: () => stopped.abort() };
}
