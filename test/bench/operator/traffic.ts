import { readFile, writeFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { BenchCluster } from './cluster.ts';

/** Bytes of bodies, by verb: what was sent to the API server and what came from it. */
export type Traffic = Record<string, { sent: number; received: number }>;

/** Stands between a client and the API server, and counts. */
export interface Counter {
  /** The operator's kubeconfig, which leads here. */
  kubeconfig: string;
  /** What was counted since the call before. */
  take(): Traffic;
  stop(): void;
}

/** Starts a counter. Whoever goes through it is slower: nothing is timed meanwhile. */
export async function countTraffic(cluster: BenchCluster): Promise<Counter> {
  let traffic: Traffic = {};
  const agent = new https.Agent({ keepAlive: true, ca: cluster.certificateAuthority });
  const counting = (verb: string, direction: 'sent' | 'received') =>
    new Transform({
      transform(chunk: Buffer, _encoding, done) {
        traffic[verb] ??= { sent: 0, received: 0 };
        traffic[verb][direction] += chunk.length;
        done(null, chunk);
      },
    });
  const server = http.createServer((request, response) => {
    const verb = verbOf(request);
    const { method, headers } = request;
    const onward = https.request(
      `${cluster.server}${request.url}`,
      { method, headers, agent },
      (answer: http.IncomingMessage) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        // A watch has to be seen to begin before its first event.
        response.flushHeaders();
        pass(answer, counting(verb, 'received'), response);
      },
    );
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    pass(request, counting(verb, 'sent'), onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const config = JSON.parse(await readFile(cluster.operatorKubeconfig, 'utf8'));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  config.clusters[0].cluster = { server: url, 'insecure-skip-tls-verify': true };
  const kubeconfig = join(cluster.dir, 'counted.kubeconfig');
  await writeFile(kubeconfig, JSON.stringify(config), { mode: 0o600 });
  return {
    kubeconfig,
    take() {
      const taken = traffic;
      traffic = {};
      return taken;
    },
    stop() {
      server.closeAllConnections();
      server.close();
      agent.destroy();
    },
  };
}

// Either end may go at any time: a watch ends so.
function pass(from: Readable, through: Transform, to: NodeJS.WritableStream): void {
  pipeline(from, through, to).catch(() => {});
}

// As the audit log calls them.
function verbOf({ method, url = '', headers }: http.IncomingMessage): string {
  switch (method) {
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return 'delete';
    default: {
      const { pathname, searchParams } = new URL(url, `http://${headers.host}`);
      if (searchParams.has('watch')) return 'watch';
      const isCollection =
        /\/(macpauthissuers|secrets|configmaps|services|pods|deployments|poddisruptionbudgets|namespaces)$/;
      return isCollection.test(pathname) ? 'list' : 'get';
    }
  }
}
