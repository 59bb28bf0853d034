import { type ChildProcess, execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { CoreV1Api } from '@kubernetes/client-node';
import { type ControlPlane, type NodeSite, startControlPlane } from '../controlplane/controlplane.ts';
import { serviceRange } from '../controlplane/flags.ts';
import { type Kubectl, kubectlFor } from '../local/kubectl.ts';
import { type Log, runForOutput, signalGroup, spawnTethered } from '../support/process.ts';
import { podImage, writePodImage } from './image.ts';
import { ensureNodePrograms, type NodePrograms } from './programs.ts';
import {
  cniConfig,
  containerdConfig,
  containerdSocket,
  corefile,
  dnsReadyPort,
  kubeletArgs,
  kubeletConfig,
  kubeletUser,
  kubeProxyArgs,
  kubeProxyHealthPort,
  nodeAddress,
  nodeName,
  nodeUsers,
  schedulerArgs,
} from './settings.ts';
import { openSpace, requireRoot, type Space } from './space.ts';

const run = promisify(execFile);

/** A whole Kubernetes on this machine, in namespaces of its own: control plane and one node. */
export interface ClusterNode {
  /** Of a cluster administrator; it works on this machine as well as inside. */
  readonly kubeconfigPath: string;
  readonly kubectl: Kubectl;
  /** Its audit log, its users, its outages. */
  readonly controlPlane: ControlPlane;
  /**
   * Goes before a command line, to run it inside, where pods, Services and their names are reached. Paths must be
   * absolute; the program ends with the node at the latest.
   */
  readonly enter: readonly string[];
  /** Loads the images of a docker-archive or OCI archive; pods name them with `imagePullPolicy` IfNotPresent or Never. */
  importImage(file: string): Promise<void>;
  /** Kills the API server and starts it again with the same data; returns when it serves. */
  restartAPIServer(): Promise<void>;
  /** Runs nft inside, on `input` where `-f -` is among the arguments; resolves with what it printed. */
  nft(args: string[], input?: string): Promise<string>;
  /** Returns when nothing of it is left. */
  stop(): Promise<void>;
}

/**
 * Starts a node with its control plane, which end with this process, however it ends. `images` are archives to load.
 * Returns when the node is Ready, Services are answered and names resolve. When something fails, nothing of it stays.
 */
export async function startNode(options: { log: Log; images?: string[] }): Promise<ClusterNode> {
  requireRoot();
  const programs = await ensureNodePrograms(options.log);
  const space = await openSpace(nodeAddress, serviceRange);
  const forwards: ChildProcess[] = [];
  let controlPlane: ControlPlane | undefined;
  const stop = async () => {
    for (const child of forwards) signalGroup(child.pid ?? 0, 'SIGKILL');
    await controlPlane?.stop();
    await space.close();
  };
  try {
    controlPlane = await startInside(options.log, space, forwards);
    const node = await startPrograms(programs, space, controlPlane);
    for (const image of options.images ?? []) await node.importImage(image);
    return { ...node, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startInside(log: Log, space: Space, forwards: ChildProcess[]): Promise<ControlPlane> {
  const dir = join(space.dir, 'control-plane');
  await mkdir(dir);
  // Kubelet trusts this one certificate, which thus needs no other to sign it.
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '365'],
    ...['-keyout', join(dir, 'kubelet-client.key'), '-out', join(dir, 'kubelet-client.crt')],
    ...['-subj', '/O=system:masters/CN=kube-apiserver'],
  ]);
  const socket = join(space.dir, 'api.sock');
  const port = await forward([], '0', socket, forwards);
  await forward(space.enter, socket, port, forwards);
  const site: NodeSite = { enter: space.enter, address: nodeAddress, port: Number(port) };
  return startControlPlane({ log, dir, users: nodeUsers, site });
}

// Passes connections on from one place to another; resolves with the place where it listens.
async function forward(
  enter: readonly string[],
  from: string,
  to: string,
  started: ChildProcess[],
): Promise<string> {
  const program = [process.execPath, join(import.meta.dirname, 'forward.ts'), from, to];
  const child = spawnTethered([...enter, ...program], { stdio: ['ignore', 'pipe', 'inherit'] });
  started.push(child);
  const lines = createInterface(child.stdout as Readable);
  const first = await Promise.race([once(lines, 'line'), once(child, 'exit').then(() => undefined)]);
  if (!first) throw new Error(`connections from ${from} to ${to} could not be passed on: see above`);
  return String(first[0]);
}

type Running = Omit<ClusterNode, 'stop'>;

async function startPrograms(
  programs: NodePrograms,
  { dir, cgroup, enter }: Space,
  controlPlane: ControlPlane,
): Promise<Running> {
  const path = (name: string) => join(dir, name);
  const env = ['env', ...programs.env];
  const launch = (name: keyof NodePrograms & string, argv: string[]) =>
    controlPlane.launch(name, [...env, String(programs[name]), ...argv]);
  const kubeconfigs = await writeKubeconfigs(dir, controlPlane);
  const inside = (argv: string[], label: string, input?: string | number) =>
    runForOutput([...enter, ...env, ...argv], { label, ...(input !== undefined && { input }) });
  const kubectl = kubectlFor(controlPlane.binaries.kubectl, controlPlane.kubeconfigPath);

  await mkdir(path('cni'));
  await writeFile(path('cni/node.conflist'), JSON.stringify(cniConfig));
  await writeFile(path('containerd.toml'), containerdConfig(programs, podImage, path('cni')));
  await launch('containerd', ['--config', path('containerd.toml')]);
  const ctr = (args: string[], label: string, input?: number) =>
    inside([programs.ctr, '--address', containerdSocket, '--namespace', 'k8s.io', ...args], label, input);
  const answers = () =>
    ctr(['version'], 'containerd').then(
      () => true,
      () => false,
    );
  await controlPlane.waitFor('containerd', 30_000, answers);
  const importImage = async (file: string) => {
    // Opened out here: inside, some folders are the node's own.
    const archive = await open(file);
    try {
      await ctr(['images', 'import', '-'], `import of ${file}`, archive.fd);
    } finally {
      await archive.close();
    }
  };
  await mkdir(path('image'));
  await importImage(await writePodImage(path('image'), programs.pod));

  await writeFile(path('pods.resolv.conf'), '');
  const config = kubeletConfig({
    cgroup,
    clientCA: join(controlPlane.dir, 'kubelet-client.crt'),
    podResolvConf: path('pods.resolv.conf'),
  });
  await writeFile(path('kubelet.json'), JSON.stringify(config));
  await writeFile(path('Corefile'), corefile(kubeconfigs.coredns));
  await launch('kubelet', kubeletArgs(path('kubelet.json'), kubeconfigs.kubelet));
  await launch('kube-scheduler', schedulerArgs(kubeconfigs.scheduler));
  await launch('kube-proxy', kubeProxyArgs(kubeconfigs.proxy));
  await kubectl.run(['create', 'clusterrolebinding', 'coredns', '--clusterrole=view', '--user=coredns']);
  await launch('coredns', ['-conf', path('Corefile')]);
  await waitUntilReady(controlPlane);

  return {
    kubeconfigPath: controlPlane.kubeconfigPath,
    kubectl,
    controlPlane,
    enter,
    importImage,
    async restartAPIServer() {
      await controlPlane.apiServer.stop();
      await controlPlane.apiServer.start();
    },
    nft: (args, input) => inside([programs.nft, ...args], `nft ${args.join(' ')}`, input),
  };
}

async function writeKubeconfigs(dir: string, controlPlane: ControlPlane) {
  const write = async (user: keyof typeof nodeUsers) => {
    const file = join(dir, `${user.split(':').at(-1)}.kubeconfig`);
    await writeFile(file, controlPlane.kubeConfigFor({ user }).exportConfig(), { mode: 0o600 });
    return file;
  };
  return {
    kubelet: await write(kubeletUser),
    scheduler: await write('system:kube-scheduler'),
    proxy: await write('system:kube-proxy'),
    coredns: await write('coredns'),
  };
}

async function waitUntilReady({ kubeConfig, waitFor }: ControlPlane): Promise<void> {
  const core = kubeConfig.makeApiClient(CoreV1Api);
  const isReady = async () => {
    const node = await core.readNode({ name: nodeName }).catch(() => undefined);
    return (
      node?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false
    );
  };
  await waitFor('the node', 120_000, isReady);
  const answers = (port: number, probe: string) => () =>
    core.connectGetNodeProxyWithPath({ name: `http:${nodeName}:${port}`, path: probe }).then(
      () => true,
      () => false,
    );
  await waitFor('kube-proxy', 60_000, answers(kubeProxyHealthPort, 'healthz'));
  await waitFor('CoreDNS', 60_000, answers(dnsReadyPort, 'ready'));
}
