// The cluster that the end-to-end tests share, in a process of its own, which ends when its standard input does: the
// kernel closes that with the process that started it. Nothing is started before a test asks, so that those with a
// node of their own do not wait for it.
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { ensureBinaries } from '../../controlplane/binaries.ts';
import { kubectlFor } from '../../local/kubectl.ts';
import { type ClusterNode, startNode } from '../../node/node.ts';
import { buildTestImages } from '../images/all.ts';
import { givenCluster, isGiven } from './given.ts';
import type { ClusterInfo, NodeTask } from './info.ts';
import { install, uninstall, whatIsThere } from './install.ts';

const log = (line: string) => process.stderr.write(`${line}\n`);
const [socket] = process.argv.slice(2);

let node: ClusterNode | undefined;
/** A cluster that was given is left as it was: without the chart. */
let leave = async () => {};
let opened: Promise<ClusterInfo> | undefined;

async function open(): Promise<ClusterInfo> {
  const begin = Date.now();
  const info = (await givenCluster(log)) ?? (await startOwn());
  const target = { kubectl: kubectlFor(info.kubectlPath, info.kubeconfigPath), log, ...info };
  if (!info.node) {
    // The tests delete them in the end, with the issuers and keys of whoever they are.
    const found = await whatIsThere(target);
    if (found)
      throw new Error(`the given cluster has ${found.replace('\n', ' and ')}: take one that has neither`);
    leave = () => uninstall(target);
  }
  await install(target);
  log(`a cluster with the chart in it after ${((Date.now() - begin) / 1000).toFixed(1)} s`);
  return info;
}

async function startOwn(): Promise<ClusterInfo> {
  const images = await buildTestImages(log);
  node = await startNode({ log, images: Object.values(images).map(({ archive }) => archive) });
  return {
    kubeconfigPath: node.kubeconfigPath,
    kubectlPath: (await ensureBinaries({ log })).kubectl,
    images: {
      sidecar: images.sidecar.ref,
      operator: images.operator.ref,
      runtime: images.runtime.ref,
      python: images.python.ref,
    },
    node: { auditLogPath: node.controlPlane.auditLogPath },
  };
}

const running = (): ClusterNode => {
  if (!node) throw new Error('the tests have no node of their own');
  return node;
};
const tasks: { [name in keyof NodeTask]: (...args: NodeTask[name]) => Promise<unknown> } = {
  stopAPIServer: () => running().controlPlane.apiServer.stop(),
  startAPIServer: () => running().controlPlane.apiServer.start(),
  importImage: (file) => running().importImage(file),
  nft: (args, input) => running().nft(args, input),
};

async function answer(path: string, body: string): Promise<unknown> {
  if (path === '/cluster') {
    opened ??= open();
    return opened;
  }
  const task = tasks[path.slice(1) as keyof NodeTask] as (...args: unknown[]) => Promise<unknown>;
  return task(...JSON.parse(body));
}

const server = createServer(async (request, response) => {
  try {
    response.end(JSON.stringify({ value: await answer(request.url ?? '', await text(request)) }));
  } catch (error) {
    response.end(JSON.stringify({ problem: (error as Error).message }));
  }
});
server.listen(socket, () => process.stdout.write('listening\n'));

let stopping = false;
const stop = async () => {
  if (stopping) return;
  stopping = true;
  // On a node of our own even what is being installed ends with that.
  if (isGiven()) await opened?.catch(() => {});
  await leave().catch((error: Error) => log(error.message));
  await node?.stop();
  process.exit(0);
};
process.stdin.on('end', stop).on('error', stop).resume();
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
