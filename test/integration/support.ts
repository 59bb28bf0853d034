import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type MacpAuthIssuer, objectNames } from '../../operator/api/names.ts';
import { ApiClient } from '../../operator/cluster/client.ts';
import { type KubeObject, resources } from '../../operator/cluster/resources.ts';
import { isWrite } from '../controlplane/audit.ts';
import { serviceAccountKubeconfig } from '../local/cluster.ts';
import { type Kubectl, kubectlFor } from '../local/kubectl.ts';
import { type OperatorProcess, startOperator } from '../support/operator.ts';
import { type SharedCluster, sharedCluster } from '../support/shared.ts';

/** The user that the operator acts as. */
export const operatorUser = 'system:serviceaccount:macp-auth-system:macp-auth-operator';

/** A namespace of the shared cluster, with operators of its own. */
export interface Bench {
  cluster: SharedCluster;
  namespace: string;
  kubectl: Kubectl;
  client: ApiClient;
  /** Starts an operator for this namespace, as the shipped ServiceAccount with the shipped permissions. */
  operator(flags?: readonly string[], kubeconfigPath?: string, env?: Record<string, string>): OperatorProcess;
  /** The same for all namespaces, which must not be while tests of others run. */
  clusterOperator(flags?: readonly string[], kubeconfigPath?: string): OperatorProcess;
  /** A kubeconfig of another ServiceAccount in the operator's namespace. */
  kubeconfigOf(serviceAccount: string): Promise<string>;
  /** Applies an issuer with a spec. */
  apply(name: string, spec?: object): Promise<void>;
  issuer(name: string): Promise<MacpAuthIssuer>;
  /** Waits until the Ready condition of an issuer has this reason, and returns the issuer. */
  ready(name: string, reason?: string): Promise<MacpAuthIssuer>;
  /** The decoded files of an issuer's agent Secret. */
  agentFiles(
    name: string,
  ): Promise<{ keys: { kid: string }[]; jwks: { kid: string }[]; settings: Record<string, unknown> }>;
  /** The kids in the JWKS ConfigMap. */
  published(name: string): Promise<string[]>;
  secret(name: string): Promise<KubeObject | undefined>;
  /** The operator's writes in this namespace so far, by the API server's audit log: verb, resource and name. */
  writes(): Promise<string[]>;
  /** Waits until the operators have written nothing for three seconds; resolves with what they wrote until then. */
  quiet(): Promise<string[]>;
  /** All that the containers of this namespace printed. */
  containerLogs(): Promise<string>;
  /** Kids of an issuer's status, the active one first. */
  keyIDs(issuer: MacpAuthIssuer): string[];
  close(): Promise<void>;
}

/** Polls until `probe` gives something, and returns it; fails with what it gave or threw last. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined | false>,
  seconds = 60,
): Promise<T> {
  let last: unknown;
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await sleep(100)) {
    try {
      const value = await probe();
      if (value) return value;
    } catch (error) {
      last = error;
    }
  }
  throw new Error(`${what}: not within ${seconds} s${last ? `; last: ${(last as Error).message}` : ''}`);
}

/** Opens a fresh namespace of the shared cluster. */
export async function openBench(prefix: string): Promise<Bench> {
  const cluster = sharedCluster();
  const dir = await mkdtemp(join(tmpdir(), 'macp-bench-'));
  const namespace = `${prefix}-${randomBytes(3).toString('hex')}`;
  const kubectl = kubectlFor(cluster.binaries.kubectl, cluster.kubeconfigPath);
  const client = new ApiClient(cluster.kubeConfig);
  await kubectl.run(['create', 'namespace', namespace]);
  const operatorKubeconfig = await serviceAccountKubeconfig(kubectl, dir);
  const operators: OperatorProcess[] = [];

  const issuer = (name: string) => client.get<MacpAuthIssuer>(resources.issuers, namespace, name);
  const secret = (name: string) => client.find(resources.secrets, namespace, name);
  const json = (text: string | undefined) => JSON.parse(Buffer.from(text ?? '', 'base64').toString());
  const start = (
    namespaces: readonly string[] | undefined,
    flags?: readonly string[],
    path?: string,
    env?: Record<string, string>,
  ) => {
    const operator = startOperator({
      kubeconfigPath: path ?? operatorKubeconfig,
      logFile: join(dir, `operator-${operators.length}.log`),
      ...(namespaces && { namespaces }),
      ...(flags && { flags }),
      ...(env && { env }),
    });
    operators.push(operator);
    return operator;
  };
  const bench: Bench = {
    cluster,
    namespace,
    kubectl,
    client,
    kubeconfigOf: (serviceAccount) => serviceAccountKubeconfig(kubectl, dir, serviceAccount),
    operator: (flags, kubeconfigPath, env) => start([namespace], flags, kubeconfigPath, env),
    clusterOperator: (flags, kubeconfigPath) => start(undefined, flags, kubeconfigPath),
    async apply(name, spec = {}) {
      await kubectl.run(
        ['apply', '-f', '-'],
        JSON.stringify({
          apiVersion: resources.issuers.apiVersion,
          kind: resources.issuers.kind,
          metadata: { name, namespace },
          spec,
        }),
      );
    },
    issuer,
    ready: (name, reason = 'Ready') =>
      eventually(`issuer ${name} with reason ${reason}`, async () => {
        const object = await issuer(name);
        const condition = object.status?.conditions?.find(({ type }) => type === 'Ready');
        if (condition?.reason === reason) return object;
        throw new Error(JSON.stringify(condition ?? 'no conditions yet'));
      }),
    async agentFiles(name) {
      const object = await secret(objectNames({ namespace, name }).agentSecret);
      const data = object?.data as Record<string, string>;
      return {
        keys: json(data['keys.json']).keys,
        jwks: json(data['jwks.json']).keys,
        settings: json(data['settings.json']),
      };
    },
    async published(name) {
      const configMap = await client.find(
        resources.configMaps,
        namespace,
        objectNames({ namespace, name }).server,
      );
      const data = configMap?.data as Record<string, string>;
      return JSON.parse(data['jwks.json'] as string).keys.map(({ kid }: { kid: string }) => kid);
    },
    secret,
    async writes() {
      const events = await cluster.readAudit(
        (event) =>
          isWrite(event) && event.user.username === operatorUser && event.objectRef?.namespace === namespace,
      );
      return events.map(({ verb, objectRef }) => `${verb} ${objectRef?.resource} ${objectRef?.name ?? ''}`);
    },
    async quiet() {
      let before = await bench.writes();
      return eventually('three quiet seconds', async () => {
        await sleep(3_000);
        const now = await bench.writes();
        const isQuiet = now.length === before.length;
        before = now;
        return isQuiet && now;
      });
    },
    async containerLogs() {
      const { items } = await client.list(resources.pods, namespace, {});
      const infos = await Promise.all(items.map((pod) => cluster.podInfo(namespace, pod.metadata.name)));
      const files = infos.flatMap((info) => Object.values(info?.containers ?? {}).map(({ log }) => log));
      return (await Promise.all(files.map((file) => readFile(file, 'utf8')))).join('');
    },
    keyIDs: ({ status }) =>
      [
        ...(status?.keys?.filter(({ state }) => state === 'Active') ?? []),
        ...(status?.keys?.filter(({ state }) => state !== 'Active') ?? []),
      ].map(({ keyID }) => keyID),
    async close() {
      // Issuers go while an operator is there to let them go.
      await kubectl.run(['delete', 'mai', '--all', '-n', namespace, '--wait=false']);
      if (operators.length > 0) {
        const last = bench.operator();
        await eventually(
          'all issuers gone',
          async () => (await client.list(resources.issuers, namespace, {})).items.length === 0,
          20,
        ).catch(() => {});
        await last.stop();
      }
      await Promise.all(operators.map((operator) => operator.stop()));
      await kubectl.run(['delete', 'namespace', namespace, '--wait=false']);
      await rm(dir, { recursive: true, force: true });
    },
  };
  return bench;
}
