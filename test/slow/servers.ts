import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { jwksPath, serverPodSelector, serverPorts } from '../../operator/build/server.ts';
import { type KubeObject, resources } from '../../operator/cluster/resources.ts';
import { isReady } from '../../operator/status/judge.ts';
import { kidsOf, type Place } from './key-watch.ts';

/** The server pods of an issuer that are ready. */
export async function serverPods({ client, namespace }: Place, issuer: string): Promise<KubeObject[]> {
  const labelSelector = `${serverPodSelector},app.kubernetes.io/instance=${issuer}`;
  const { items } = await client.list(resources.pods, namespace, { labelSelector });
  return items.filter(isReady);
}

/** The kids that a server pod serves. */
export const servedBy = async (pod: KubeObject): Promise<string[]> => kidsOf((await fetchFrom(pod)).body);

async function fetchFrom({ status }: KubeObject): Promise<{ body: string; headers: Headers }> {
  const { podIP } = status as { podIP: string };
  const response = await fetch(`http://${podIP}:${serverPorts.jwks}${jwksPath}`, {
    signal: AbortSignal.timeout(2_000),
  });
  if (!response.ok) throw new Error(`a server pod answered ${response.status}`);
  return { body: await response.text(), headers: response.headers };
}

/** What stands for an issuer's Service: an address that gives what one of the ready server pods serves. */
export interface Forwarder {
  url: string;
  /** What was fetched of which pod, in order. */
  readonly fetches: readonly { at: number; pod: string; kids: string[] }[];
  close(): Promise<void>;
}

/** Starts a {@link Forwarder}; each request goes to another pod, at random. */
export async function startForwarder(place: Place, issuer: string): Promise<Forwarder> {
  const fetches: { at: number; pod: string; kids: string[] }[] = [];
  const server = createServer(async (_, response) => {
    const pods = await serverPods(place, issuer).catch(() => []);
    for (const pod of pods.toSorted(() => Math.random() - 0.5)) {
      try {
        const at = Date.now();
        const { body, headers } = await fetchFrom(pod);
        fetches.push({ at, pod: pod.metadata.name, kids: kidsOf(body) });
        response.setHeader('content-type', headers.get('content-type') ?? '');
        response.setHeader('cache-control', headers.get('cache-control') ?? '');
        response.end(body);
        return;
      } catch {}
    }
    response.writeHead(502).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${jwksPath}`,
    fetches,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
