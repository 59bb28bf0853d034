import http from 'node:http';
import { pino } from 'pino';
import { type IssuerKey, issuerLabel, labels, objectNames } from '../../../operator/api/names.ts';
import { jwksPath, serverPodSelector, serverPorts } from '../../../operator/build/server.ts';
import { startInformer } from '../../../operator/cluster/informer.ts';
import { resources } from '../../../operator/cluster/resources.ts';
import { fileNames } from '../../../sidecar/contract/files.ts';
import { bind, createNode, patchStatus } from './api.ts';
import type { BenchCluster } from './cluster.ts';
import { forEach } from './issuers.ts';

const node = 'bench-node';

/** What answers in place of the JWKS servers of all issuers. */
export interface StandIns {
  stop(): Promise<void>;
}

/**
 * Makes the server pods that the controllers of Kubernetes made Ready, without a process for each: this process answers
 * for all of them, on an address of 127.0.0.0/8 for each issuer, with what the issuer's ConfigMap holds.
 */
export async function standInForServers(
  { client }: BenchCluster,
  keys: readonly IssuerKey[],
): Promise<StandIns> {
  const stopping = new AbortController();
  const configMaps = startInformer({
    client,
    resource: resources.configMaps,
    namespace: undefined,
    labelSelector: labels.issuer,
    onChange: () => {},
    log: pino({ level: 'silent' }),
    signal: stopping.signal,
  });
  const servers: http.Server[] = [];
  const addresses = new Map<string, string>();
  for (const [index, key] of keys.entries()) {
    const server = http.createServer((request, response) => {
      const configMap = configMaps.get(key.namespace, objectNames(key).server);
      const jwks = (configMap?.data as Record<string, string> | undefined)?.[fileNames.jwks];
      response.writeHead(request.url === jwksPath && jwks ? 200 : 404).end(jwks);
    });
    addresses.set(issuerLabel(key), await listen(server, index));
    servers.push(server);
  }
  await createNode(client, node);
  const { items } = await client.list(resources.pods, undefined, { labelSelector: serverPodSelector });
  const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  const conditions = ['PodScheduled', 'Initialized', 'ContainersReady', 'Ready'].map((type) => ({
    type,
    status: 'True',
    lastTransitionTime: now,
  }));
  await forEach(items, async ({ metadata }) => {
    const podIP = addresses.get(metadata.labels?.[labels.issuer] ?? '');
    if (!podIP) return;
    await bind(client, metadata, node);
    await patchStatus(client, resources.pods, metadata, {
      phase: 'Running',
      podIP,
      podIPs: [{ ip: podIP }],
      conditions,
    });
  });
  return {
    async stop() {
      stopping.abort();
      for (const server of servers) server.closeAllConnections();
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

// Others on this machine may hold an address: process kubelets take theirs from the same range.
async function listen(server: http.Server, index: number): Promise<string> {
  for (let block = 100; block < 250; block += 1) {
    const address = `127.${block}.${Math.floor(index / 250)}.${2 + (index % 250)}`;
    const listens = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen({ host: address, port: serverPorts.jwks, exclusive: true }, () => resolve(true));
    });
    if (listens) return address;
  }
  throw new Error(`no address of 127.0.0.0/8 is free on port ${serverPorts.jwks}`);
}
