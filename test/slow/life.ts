import { type MacpAuthIssuer, objectNames } from '../../operator/api/names.ts';
import { fromBase64 } from '../../operator/build/files.ts';
import type { ApiClient } from '../../operator/cluster/client.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { eventually } from '../integration/support.ts';

/** Where a life is led. */
export interface LifeOptions {
  /** Of a cluster administrator. */
  client: ApiClient;
  namespace: string;
  /** Name of the issuer. */
  name: string;
  /** Another namespace, in which it has agents. */
  other?: string;
  /** Whether the life may end here. */
  isOver?: () => Promise<boolean>;
}

/**
 * Leads an issuer through a life in which its operator asks for all that it may do: the issuer becomes Ready, loses what
 * an edit takes from two of its objects, gets another spec, and is deleted with all that it has.
 */
export async function leadLife({ client, namespace, name, other, isOver }: LifeOptions): Promise<void> {
  const over = isOver ?? (async () => false);
  const { server, agentSecret } = objectNames({ namespace, name });
  const { apiVersion, kind } = resources.issuers;
  const matchLabels = { 'kubernetes.io/metadata.name': other ?? '' };
  const spec = {
    deletionPolicy: 'Delete',
    server: { replicas: 1 },
    ...(other && { agents: { namespaceSelector: { matchLabels } } }),
  };
  const issuer = () => client.find<MacpAuthIssuer>(resources.issuers, namespace, name);
  const data = async (resource: typeof resources.secrets | typeof resources.configMaps, object: string) =>
    (await client.get(resource, namespace, object)).data as Record<string, string>;

  const steps: (() => Promise<unknown>)[] = [
    () => client.create(resources.issuers, namespace, { apiVersion, kind, metadata: { name }, spec }),
    () =>
      eventually('the issuer Ready', async () => {
        if (await over()) return true;
        const { status } = (await issuer()) ?? {};
        const ready = status?.conditions?.find(({ type }) => type === 'Ready');
        if (ready?.status === 'True' && status?.namespaces === (other ? 2 : 1)) return true;
        throw new Error(JSON.stringify(ready));
      }),
    () => client.mergePatch(resources.configMaps, namespace, server, { data: { 'jwks.json': '{}' } }),
    () => client.mergePatch(resources.secrets, namespace, agentSecret, { data: { 'keys.json': 'e30=' } }),
    () => client.mergePatch(resources.issuers, namespace, name, { spec: { ttl: { max: '3h' } } }),
    () =>
      eventually('the JWKS as it was, and agents with the longer TTL and their keys', async () => {
        if (await over()) return true;
        const { 'jwks.json': jwks } = await data(resources.configMaps, server);
        const { 'settings.json': settings, 'keys.json': keys } = await data(resources.secrets, agentSecret);
        const hasTTL = JSON.parse(fromBase64(settings) ?? '').maxTTLSeconds === 10_800;
        return hasTTL && jwks !== '{}' && keys !== 'e30=';
      }),
    async () => {
      const found = await client.get(resources.issuers, namespace, name);
      await client.delete(resources.issuers, found);
    },
    () => eventually('the issuer gone', async () => (await over()) || (await issuer()) === undefined),
  ];
  for (const step of steps) {
    if (await over()) return;
    await step();
  }
}
