import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CoreV1Api, Health, KubeConfig } from '@kubernetes/client-node';
import { freePort } from '../support/free-port.ts';
import type { Log } from '../support/process.ts';
import { ownedTempDir } from '../support/tempdir.ts';
import { type AuditEvent, readAuditLog } from './audit.ts';
import { type Binaries, ensureBinaries } from './binaries.ts';
import { type Component, startComponent } from './component.ts';
import { apiServerArgs, controllerManagerArgs, etcdArgs, type Network } from './flags.ts';

/** Where a control plane runs that serves a node, in the node's own namespaces. */
export interface NodeSite {
  /** Runs a program there: it goes before the program's own command line. */
  enter: readonly string[];
  /** The node's address, where pods reach the API server. */
  address: string;
  /** Where the API server listens there, and where it can be reached on this machine's loopback. */
  port: number;
}

/** A real etcd, kube-apiserver and kube-controller-manager, reached on loopback. */
export interface ControlPlane {
  readonly dir: string;
  readonly binaries: Binaries;
  /** The admin (group system:masters), as a file and as an object. */
  readonly kubeconfigPath: string;
  readonly kubeConfig: KubeConfig;
  readonly auditLogPath: string;
  /** The same API server with the credentials of one of the users that it was started with, or with a token. */
  kubeConfigFor(as: { user: string } | { token: string }): KubeConfig;
  /** A token of a ServiceAccount that exists. */
  serviceAccountToken(namespace: string, name: string): Promise<string>;
  /** The requests that the API server has answered (stage ResponseComplete) so far, or those that `keep` keeps. */
  readAudit(keep?: (event: AuditEvent) => boolean): Promise<AuditEvent[]>;
  /** An outage, and its end with the same port and data. Both return when it is done. */
  readonly apiServer: { stop(): Promise<void>; start(): Promise<void> };
  /** Starts one more program where the control plane runs; it ends with it. */
  launch(name: string, argv: readonly string[]): Promise<void>;
  /** Waits until `done` says so; fails in time, or when a program that is needed for it (all, unless named) has ended. */
  waitFor(
    what: string,
    timeoutMs: number,
    done: () => Promise<boolean>,
    needed?: readonly string[],
  ): Promise<void>;
  /** The process ids by program. */
  pids(): Record<string, number | undefined>;
  stop(): Promise<void>;
}

/** The user of the process kubelet: the audit log tells its requests from those of others. */
export const kubeletUser = 'process-kubelet';
const controllerManagerUser = 'system:kube-controller-manager';

const auditPolicy = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'Metadata' }],
};

interface Options {
  log: Log;
  dir?: string;
  /** Further users with their groups. */
  users?: Record<string, string[]>;
  /** In place of this machine's loopback. */
  site?: NodeSite;
}

/**
 * Starts a control plane that ends with this process, however this process ends. When something fails, nothing of it
 * stays.
 */
export async function startControlPlane(options: Options): Promise<ControlPlane> {
  const binaries = await ensureBinaries(options);
  const dir = options.dir ?? (await ownedTempDir('macp-controlplane'));
  await mkdir(join(dir, 'logs'), { recursive: true });
  const running = new Map<string, Component>();
  const stop = async () => {
    await Promise.all([...running.values()].map((component) => component.kill()));
    await rm(dir, { recursive: true, force: true });
  };
  try {
    return await start(options, dir, binaries, running, stop, {
      admin: ['system:masters'],
      [kubeletUser]: ['system:masters'],
      // Without credentials for each controller it acts as this one user, which needs the rights of all.
      [controllerManagerUser]: ['system:masters'],
      ...options.users,
    });
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(
  { log, site }: Options,
  dir: string,
  binaries: Binaries,
  running: Map<string, Component>,
  stop: () => Promise<void>,
  users: Record<string, string[]>,
): Promise<ControlPlane> {
  const path = (...names: string[]) => join(dir, ...names);
  const etcdSocket = path('etcd.sock');
  if (etcdSocket.length > 107) {
    throw new Error(`${etcdSocket} is too long for a socket: set TMPDIR to a shorter path`);
  }
  const tokens = new Map(Object.keys(users).map((user) => [user, randomBytes(32).toString('hex')]));
  await writeFiles(dir, tokens, users);

  const launchers = new Map<string, () => Promise<void>>();
  const launch = (name: string, argv: readonly string[]) => {
    const begin = async () => {
      await running.get(name)?.kill();
      const inPlace = [...(site?.enter ?? []), ...argv];
      running.set(name, startComponent(name, inPlace, path('logs', `${name}.log`), log));
    };
    launchers.set(name, begin);
    return begin();
  };
  const waitFor: ControlPlane['waitFor'] = async (what, timeoutMs, done, needed = [...running.keys()]) => {
    const deadline = Date.now() + timeoutMs;
    while (!(await done())) {
      for (const name of needed) {
        const failure = running.get(name)?.failure;
        if (failure) throw new Error(failure);
      }
      if (Date.now() > deadline) throw new Error(`${what} was not ready after ${timeoutMs / 1000} s`);
      await sleep(50);
    }
  };

  await launch('etcd', [binaries.etcd, ...etcdArgs(path('etcd'), etcdSocket, path('etcd-peer.sock'))]);

  let port = 0;
  const kubeConfigFor: ControlPlane['kubeConfigFor'] = (as) => {
    const token = 'token' in as ? as.token : tokens.get(as.user);
    if (!token) throw new Error(`the control plane was started without a user ${'user' in as && as.user}`);
    const name = 'user' in as ? as.user : 'token';
    const config = new KubeConfig();
    config.loadFromClusterAndUser(
      {
        name: 'test',
        server: `https://127.0.0.1:${port}`,
        caFile: path('ca.crt'),
        skipTLSVerify: false,
        // Its certificate names the node, not loopback.
        ...(site && { tlsServerName: 'kubernetes.default.svc' }),
      },
      { name, token },
    );
    return config;
  };
  const isReady = () => new Health(kubeConfigFor({ user: 'admin' })).readyz({}).catch(() => false);
  const network: Network = site ? { nodeAddress: site.address } : 'loopback';
  const startApiServer = async () => {
    const args = apiServerArgs(dir, port, etcdSocket, network);
    await launch('kube-apiserver', [binaries['kube-apiserver'], ...args]);
    const served = async () => (await writeCertificateAuthority(dir)) && isReady();
    await waitFor('the API server', 60_000, served, ['etcd', 'kube-apiserver']);
  };

  for (let attempt = 1; ; attempt++) {
    port = site?.port ?? (await freePort());
    try {
      await startApiServer();
      break;
    } catch (error) {
      // Another process may have taken the port in between.
      if (site || attempt === 5 || !/address already in use/.test((error as Error).message)) throw error;
    }
  }
  const kubeConfig = kubeConfigFor({ user: 'admin' });
  await writeFile(path('kubeconfig'), kubeConfig.exportConfig(), { mode: 0o600 });
  await writeFile(
    path('controller-manager.kubeconfig'),
    kubeConfigFor({ user: controllerManagerUser }).exportConfig(),
  );
  const controllerManager = [binaries['kube-controller-manager'], ...controllerManagerArgs(dir, network)];
  await launch('kube-controller-manager', controllerManager);
  const core = kubeConfig.makeApiClient(CoreV1Api);
  await waitFor('the default ServiceAccount', 60_000, () =>
    core.readNamespacedServiceAccount({ namespace: 'default', name: 'default' }).then(
      () => true,
      () => false,
    ),
  );

  return {
    dir,
    binaries,
    kubeconfigPath: path('kubeconfig'),
    kubeConfig,
    auditLogPath: path('audit.log'),
    kubeConfigFor,
    async serviceAccountToken(namespace, name) {
      const body = { spec: { audiences: [], expirationSeconds: 3600 } };
      const request = await core.createNamespacedServiceAccountToken({ namespace, name, body });
      return request.status?.token ?? '';
    },
    readAudit: (keep) => readAuditLog(path('audit.log'), keep),
    apiServer: {
      stop: async () => running.get('kube-apiserver')?.kill(),
      start: async () => {
        await startApiServer();
        // Some programs give up in a long outage, and a cluster's supervisor starts them anew.
        for (const [name, component] of running) if (component.failure) await launchers.get(name)?.();
      },
    },
    launch,
    waitFor,
    pids: () => Object.fromEntries([...running].map(([name, component]) => [name, component.pid])),
    stop,
  };
}

async function writeFiles(dir: string, tokens: Map<string, string>, users: Record<string, string[]>) {
  const rows = [...tokens].map(([user, token]) => `${token},${user},${user},"${users[user]?.join(',')}"\n`);
  await writeFile(join(dir, 'tokens.csv'), rows.join(''), { mode: 0o600 });
  await writeFile(join(dir, 'audit-policy.json'), JSON.stringify(auditPolicy));
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await writeFile(join(dir, 'sa.key'), privateKey.export({ type: 'sec1', format: 'pem' }), { mode: 0o600 });
  await writeFile(join(dir, 'sa.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
}

// The API server makes its certificate together with a CA of its own, and writes both into one file, the CA last.
async function writeCertificateAuthority(dir: string): Promise<boolean> {
  const chain = await readFile(join(dir, 'certs', 'apiserver.crt'), 'utf8').catch(() => '');
  const ca = chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g)?.[1];
  if (ca) await writeFile(join(dir, 'ca.crt'), ca);
  return ca !== undefined;
}
