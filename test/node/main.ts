// A single-node Kubernetes in one command, which stays until Ctrl-C.
import { access } from 'node:fs/promises';
import { readArgs } from './args.ts';
import { type ClusterNode, startNode } from './node.ts';
import { prepareNode } from './prepare.ts';

const log = (line: string) => process.stderr.write(`${line}\n`);

function print(node: ClusterNode, json: boolean): void {
  const { kubeconfigPath: kubeconfig, enter } = node;
  const kubectl = node.controlPlane.binaries.kubectl;
  process.stdout.write(
    json
      ? `${JSON.stringify({ kubeconfig, kubectl, enter })}\n`
      : `
export KUBECONFIG=${kubeconfig}
alias kubectl=${kubectl}

Pods and Services have addresses in the cluster only. From here: kubectl port-forward; or run a program inside, as in
  ${enter.join(' ')} curl http://NAME.NAMESPACE.svc.cluster.local

Ctrl-C ends it and leaves nothing.
`,
  );
}

async function run(): Promise<void> {
  const options = readArgs(process.argv.slice(2));
  for (const image of options.images) {
    await access(image).catch(() => {
      throw new Error(`--image ${image}: there is no such file`);
    });
  }
  const begin = Date.now();
  const since = () => `${((Date.now() - begin) / 1000).toFixed(1)} s`;
  if (options.prepare) {
    await prepareNode(log);
    log(`all that a cluster takes is there, after ${since()}`);
    return;
  }
  let node: ClusterNode | undefined;
  let ending = false;
  const end = async (code: number) => {
    // While it starts, the kernel and the node's janitor end what there is.
    if (ending || !node) process.exit(code);
    ending = true;
    log('stopping');
    await node.stop();
    process.exit(0);
  };
  process.on('SIGINT', () => end(130));
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => end(143));
  // Whoever reads our output is gone: so is the reason to go on.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => end(1));
  log('starting a control plane and a node, in namespaces of their own');
  node = await startNode({ log, images: options.images });
  log(`ready after ${since()}`);
  print(node, options.json);
}

run().catch((error: Error) => {
  log(error.message);
  process.exit(1);
});
