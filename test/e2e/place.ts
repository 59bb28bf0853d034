import { randomBytes } from 'node:crypto';
import { type IssuerKey, labels, type MacpAuthIssuer } from '../../operator/api/names.ts';
import { type KubeObject, resources } from '../../operator/cluster/resources.ts';
import { eventually } from '../integration/support.ts';
import { type Cluster, openCluster } from './cluster/cluster.ts';

export { eventually };

/** A fresh namespace of the shared cluster. */
export interface Place {
  cluster: Cluster;
  namespace: string;
  /** kubectl in this namespace. */
  kubectl(args: string[], input?: string): Promise<string>;
  /** Applies objects to this namespace. */
  apply(...objects: object[]): Promise<void>;
  issuer(name: string): Promise<MacpAuthIssuer>;
  /** Applies an issuer and waits until it is Ready. */
  ready(name: string, spec?: object): Promise<MacpAuthIssuer>;
  /** Changes the issuer's spec as a person does. */
  patch(name: string, spec: object): Promise<void>;
  pods(selector: string): Promise<KubeObject[]>;
  /** Waits until a pod, or another object, has a condition. */
  wait(object: string, condition: string, seconds?: number): Promise<void>;
  /** Takes the issuers and the namespace away; returns when they are gone. */
  close(): Promise<void>;
}

/** A Ready condition, where the issuer has one. */
export const readyCondition = ({ status }: MacpAuthIssuer) =>
  status?.conditions?.find(({ type }) => type === 'Ready');

/** The label by which a pod asks for an issuer's sidecar. */
export const issuerLabel = ({ namespace, name }: IssuerKey) => ({ [labels.issuer]: `${namespace}.${name}` });

/** Opens a namespace, restricted as a careful team would have it. */
export async function openPlace(prefix: string): Promise<Place> {
  const cluster = await openCluster();
  const namespace = `${prefix}-${randomBytes(3).toString('hex')}`;
  const { client } = cluster;
  const kubectl = (args: string[], input?: string) => cluster.kubectl.run(['-n', namespace, ...args], input);
  const metadata = { name: namespace, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } };
  await kubectl(['create', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata }));
  const issuer = (name: string) => client.get<MacpAuthIssuer>(resources.issuers, namespace, name);
  const apply = async (...items: object[]) => {
    await kubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  };
  return {
    cluster,
    namespace,
    kubectl,
    apply,
    issuer,
    async ready(name, spec = {}) {
      const { apiVersion, kind } = resources.issuers;
      await apply({ apiVersion, kind, metadata: { name }, spec });
      return eventually(
        `issuer ${name} Ready`,
        async () => {
          const object = await issuer(name);
          const condition = readyCondition(object);
          if (condition?.status === 'True') return object;
          throw new Error(JSON.stringify(condition ?? 'no conditions yet'));
        },
        120,
      );
    },
    async patch(name, spec) {
      await kubectl(['patch', 'mai', name, '--type=merge', '-p', JSON.stringify({ spec })]);
    },
    pods: async (labelSelector) => (await client.list(resources.pods, namespace, { labelSelector })).items,
    async wait(object, condition, seconds = 120) {
      await kubectl(['wait', object, `--for=condition=${condition}`, `--timeout=${seconds}s`]).catch(
        async (error: Error) => {
          const state = await kubectl(['describe', object]).catch((problem: Error) => problem.message);
          throw new Error(`${error.message}\n${state}`);
        },
      );
    },
    async close() {
      await kubectl(['delete', 'mai', '--all', '--timeout=60s']);
      await kubectl(['delete', 'namespace', namespace, '--timeout=120s']);
    },
  };
}
