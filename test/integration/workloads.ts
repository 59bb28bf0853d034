import { sidecarImage } from '../support/operator.ts';
import { issuerLabel, type PolicyCluster } from './policy-cluster.ts';
import { eventually } from './support.ts';

/** A Pod as JSON, as far as these tests look at it. */
export interface Pod {
  apiVersion: 'v1';
  kind: 'Pod';
  metadata: {
    name?: string;
    generateName?: string;
    namespace: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  spec: Record<string, unknown> & {
    containers: Container[];
    initContainers?: Container[];
    volumes?: { name: string; [member: string]: unknown }[];
  };
  status?: {
    phase?: string;
    podIP?: string;
    conditions?: { type: string; status: string }[];
    initContainerStatuses?: { name: string; state: object }[];
    containerStatuses?: {
      name: string;
      state: { waiting?: { reason: string }; terminated?: { exitCode: number } };
    }[];
  };
}

/** A container as JSON. */
export interface Container {
  name: string;
  image: string;
  env?: { name: string; value?: string; valueFrom?: object }[];
  volumeMounts?: { name: string; mountPath: string; readOnly?: boolean }[];
  [member: string]: unknown;
}

/** Asks the sidecar for a token and prints it; it fails when there is none. */
const mintOnce = `
  const response = await fetch(process.env.MACP_AUTH_SERVICE_URL + '/tokens', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sender: 'agent://' + process.env.HOSTNAME }),
  });
  if (!response.ok) throw new Error(await response.text());
  console.log((await response.json()).token);`;

const securityContext = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
};

/** A command line that does so, as an image's entrypoint. */
export const mintProgram = [process.execPath, '--input-type=module', '-e', mintOnce];

const program = (name: string, script: string): Container => ({
  name,
  image: 'host',
  command: [process.execPath, '--input-type=module', '-e', script],
  securityContext,
});

/** An agent that mints a token, prints it and ends. */
export const shortAgent = (name = 'agent'): Container => program(name, mintOnce);

/** An agent that mints a token, prints it and stays. */
export const agent = (name = 'agent'): Container =>
  program(name, `${mintOnce} setInterval(() => {}, 60_000);`);

/** A pod spec that the restricted Pod Security standard accepts. */
const podSpec = (spec: object = {}) => ({
  terminationGracePeriodSeconds: 1,
  securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
  containers: [agent()],
  ...spec,
});

/** An agent pod that asks for an issuer's sidecar, or for none. */
export const agentPod = (
  namespace: string,
  issuer: string | undefined,
  name: string,
  spec: object = {},
): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace, labels: issuer === undefined ? {} : { [issuerLabel]: issuer } },
  spec: podSpec(spec) as Pod['spec'],
});

/** A template for the pods of a controller. */
export const podTemplate = (issuer: string, app: string, spec: object = {}) => ({
  metadata: { labels: { app, [issuerLabel]: issuer } },
  spec: podSpec(spec),
});

/** Creates an object, and resolves with what the API server made of it. */
export async function create<T>(cluster: PolicyCluster, object: object, flags: string[] = []): Promise<T> {
  const text = await cluster.tenant.run(
    ['create', '-o', 'json', ...flags, '-f', '-'],
    JSON.stringify(object),
  );
  return JSON.parse(text);
}

/** What the API server would make of an object. */
export const tryCreate = <T>(cluster: PolicyCluster, object: object): Promise<T> =>
  create(cluster, object, ['--dry-run=server']);

export async function podsOf(cluster: PolicyCluster, namespace: string, app: string): Promise<Pod[]> {
  const list = await cluster.admin.run(['get', 'pods', '-n', namespace, '-l', `app=${app}`, '-o', 'json']);
  return JSON.parse(list).items;
}

export const getPod = async (cluster: PolicyCluster, namespace: string, name: string): Promise<Pod> =>
  JSON.parse(await cluster.admin.run(['get', 'pod', name, '-n', namespace, '-o', 'json']));

/** The tokens that a container of a pod printed, once there is one. */
export const mintedToken = (cluster: PolicyCluster, pod: Pod, container = 'agent'): Promise<string> =>
  eventually(`a token of ${pod.metadata.name}`, async () => {
    const output = await cluster.kubelet.logs(pod.metadata.namespace, pod.metadata.name ?? '', container);
    const token = /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/m.exec(output)?.[0];
    if (!token && output) throw new Error(output.slice(-500));
    return token;
  });

/** The sidecar of a pod as the chart injects it, and its volumes, for an issuer. */
export const injected = (issuer: string, port = '3200') => ({
  container: {
    name: 'macp-auth-sidecar',
    image: sidecarImage,
    restartPolicy: 'Always',
    env: [
      { name: 'MACP_AUTH_FILES_DIR', value: '/var/run/macp-auth' },
      { name: 'MACP_AUTH_BIND_ADDRESS', value: '127.0.0.1' },
      { name: 'PORT', value: port },
      { name: 'MACP_AUTH_HEALTH_PORT', value: '3201' },
      field('MACP_AUTH_HEALTH_BIND_ADDRESS', 'status.podIP'),
      field('MACP_AUTH_POD_NAMESPACE', 'metadata.namespace'),
      field('MACP_AUTH_SERVICE_ACCOUNT', 'spec.serviceAccountName'),
    ],
    ports: [{ name: 'macp-health', containerPort: 3201, protocol: 'TCP' }],
    startupProbe: {
      httpGet: { path: '/readyz', port: 'macp-health', scheme: 'HTTP' },
      periodSeconds: 1,
      failureThreshold: 30,
    },
    livenessProbe: { httpGet: { path: '/healthz', port: 'macp-health', scheme: 'HTTP' }, periodSeconds: 10 },
    resources: { requests: { cpu: '10m', memory: '96Mi' }, limits: { memory: '256Mi' } },
    securityContext: {
      ...securityContext,
      runAsNonRoot: true,
      runAsUser: 65532,
      runAsGroup: 65532,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    volumeMounts: [
      { name: 'macp-auth-files', mountPath: '/var/run/macp-auth', readOnly: true },
      {
        name: 'macp-auth-no-token',
        mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
        readOnly: true,
      },
    ],
  } as Container,
  volumes: [
    { name: 'macp-auth-files', secret: { secretName: `macp-auth.${issuer}`, defaultMode: 420 } },
    { name: 'macp-auth-no-token', emptyDir: {} },
  ],
});

const field = (name: string, fieldPath: string) => ({
  name,
  valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } },
});
