import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { resources } from '../../operator/cluster/resources.ts';
import { type Bench, eventually } from './support.ts';

const sample = join(import.meta.dirname, '../local/sample.yaml');

/** Runs the sample's agent pod for an issuer of a bench's namespace; resolves with the sidecar's mint URL once it is ready. */
export async function agentPod(
  bench: Pick<Bench, 'namespace' | 'kubectl' | 'client'>,
  issuer: string,
  name = `agent-of-${issuer}`,
  label = `${bench.namespace}.${issuer}`,
): Promise<string> {
  const text = await readFile(sample, 'utf8');
  const pod = parseAllDocuments(text.replaceAll('default.sample', label)).at(-1)?.toJSON();
  pod.metadata = { ...pod.metadata, name, namespace: bench.namespace };
  await bench.kubectl.run(['apply', '-f', '-'], JSON.stringify(pod));
  return eventually(`pod ${name}`, async () => {
    const { status } = (await bench.client.get(resources.pods, bench.namespace, name)) as {
      status?: { podIP?: string; conditions?: { type: string; status: string }[] };
    };
    const ready = status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True');
    return ready && `http://${status?.podIP}:3200/tokens`;
  });
}
