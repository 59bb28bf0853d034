import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { KubeConfig } from '@kubernetes/client-node';
import { ApiClient } from '../../../operator/cluster/client.ts';
import { type Kubectl, kubectlFor } from '../../local/kubectl.ts';
import { type ClusterInfo, type NodeTask, socketVariable } from './info.ts';
import { runHelm, type Target } from './install.ts';

const log = (line: string) => process.stderr.write(`${line}\n`);

/** The shared cluster with the chart in it, as a test sees it. */
export interface Cluster extends ClusterInfo, Target {
  kubectl: Kubectl;
  client: ApiClient;
  helm(args: string[], values?: object): Promise<string>;
  /** Has the owner of the tests' own node do something to it. */
  onNode<Name extends keyof NodeTask>(name: Name, ...args: NodeTask[Name]): Promise<void>;
}

/** Connects to the shared cluster; the first to ask waits until it runs and the chart is installed. */
export async function openCluster(): Promise<Cluster> {
  const info = await ask<ClusterInfo>('/cluster');
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromFile(info.kubeconfigPath);
  const kubectl = kubectlFor(info.kubectlPath, info.kubeconfigPath);
  const target = { ...info, kubectl, log };
  return {
    ...target,
    client: new ApiClient(kubeConfig),
    helm: (args, values) => runHelm(target, args, values),
    onNode: (name, ...args) => ask(`/${name}`, args),
  };
}

async function ask<T>(path: string, body: unknown[] = []): Promise<T> {
  const socketPath = process.env[socketVariable];
  if (!socketPath)
    throw new Error(`${socketVariable} is not set: run this with jest, whose globalSetup starts the owner`);
  const answer = await new Promise<string>((resolve, reject) => {
    const asking = request({ socketPath, path, method: 'POST' }, (response) =>
      text(response).then(resolve, reject),
    );
    asking.on('error', reject).end(JSON.stringify(body));
  });
  const { value, problem } = JSON.parse(answer);
  if (problem !== undefined) throw new Error(problem);
  return value;
}
