import { parse } from 'yaml';
import { resources } from '../../operator/cluster/resources.ts';
import { sidecarImage } from '../support/operator.ts';
import { documentedPod } from './documented-pod.ts';
import { type Bench, eventually } from './support.ts';

/**
 * Runs an agent pod for an issuer of a bench's namespace, or of the one that `label` names, with the sidecar written by
 * hand: the shared cluster has no injection. Resolves with the sidecar's mint URL once it is ready.
 */
export async function agentPod(
  bench: Pick<Bench, 'namespace' | 'kubectl' | 'client'>,
  issuer: string,
  name = `agent-of-${issuer}`,
  label = `${bench.namespace}.${issuer}`,
): Promise<string> {
  const text = await documentedPod();
  const pod = parse(text.replaceAll('agents.team', label));
  pod.metadata = { ...pod.metadata, name, namespace: bench.namespace };
  pod.spec.initContainers[0].image = sidecarImage;
  Object.assign(pod.spec.containers[0], { image: 'host', command: ['sleep', 'infinity'] });
  await bench.kubectl.run(['apply', '-f', '-'], JSON.stringify(pod));
  return eventually(`pod ${name}`, async () => {
    const { status } = (await bench.client.get(resources.pods, bench.namespace, name)) as {
      status?: { podIP?: string; conditions?: { type: string; status: string }[] };
    };
    const ready = status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True');
    return ready && `http://${status?.podIP}:3200/tokens`;
  });
}
