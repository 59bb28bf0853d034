import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KubeObject } from '../../operator/cluster/resources.ts';
import type { Line } from './agent/lines.ts';
import { eventually, issuerLabel, type Place } from './place.ts';

const program = 'agent-program';
// As they lie in the repository, since they import one another by these paths.
const files = ['e2e/agent/agent.ts', 'e2e/agent/agent.py', 'verify/client.ts'];
const keyOf = (file: string) => file.replaceAll('/', '_');

/** Puts the agents' programs into a namespace, where their pods mount them. */
export async function providePrograms(place: Place): Promise<void> {
  const sources = await Promise.all(
    files.map(async (file) => [keyOf(file), await readFile(join(import.meta.dirname, '..', file), 'utf8')]),
  );
  const data = { ...Object.fromEntries(sources), 'package.json': '{"type":"module"}' };
  await place.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: program }, data });
}

const items = [
  ...files.map((file) => ({ key: keyOf(file), path: file })),
  { key: 'package.json', path: 'package.json' },
];

const securityContext = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
};

const podSecurity = {
  terminationGracePeriodSeconds: 1,
  enableServiceLinks: false,
  securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
};

const variables = (env: Record<string, string>) =>
  Object.entries(env).map(([name, value]) => ({ name, value }));

/** The address of a pod that runs. */
export function podIPOf(pod: KubeObject | undefined): string {
  const { podIP } = (pod?.status ?? {}) as { podIP?: string };
  if (!podIP) throw new Error(`pod ${pod?.metadata.name} has no address`);
  return podIP;
}

/** What an agent does; see agent/agent.ts. */
export type Task = 'mint' | 'stay' | 'prove' | 'work';

/** An agent's container and its volume, as part of a pod's spec. */
export function agentSpec(place: Place, task: Task | 'python', env: Record<string, string> = {}) {
  const { images } = place.cluster;
  const [image, command] =
    task === 'python'
      ? [images.python, ['python3', '/agent/e2e/agent/agent.py']]
      : [images.sidecar, ['/usr/local/bin/node', '/agent/e2e/agent/agent.ts', task]];
  return {
    ...podSecurity,
    containers: [
      {
        name: 'agent',
        image,
        command,
        env: variables(env),
        // Without a limit kubelet reports one for the pod at first, and takes it back minutes later: a write in quiet times.
        resources: { requests: { cpu: '10m', memory: '64Mi' }, limits: { memory: '256Mi' } },
        securityContext,
        volumeMounts: [{ name: 'program', mountPath: '/agent', readOnly: true }],
      },
    ],
    volumes: [{ name: 'program', configMap: { name: program, items } }],
  };
}

/** A pod of an agent with an issuer's sidecar. */
export function agentPod(
  place: Place,
  issuer: string,
  name: string,
  task: Task | 'python',
  { env = {}, spec = {} }: { env?: Record<string, string>; spec?: object } = {},
) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: name, ...issuerLabel({ namespace: place.namespace, name: issuer }) } },
    spec: { restartPolicy: 'Never', ...agentSpec(place, task, env), ...spec },
  };
}

/** A pod without a sidecar, that runs a line of JavaScript and ends. */
function scriptPod(place: Place, name: string, script: string) {
  const command = ['/usr/local/bin/node', '--input-type=module', '--eval', script];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      ...podSecurity,
      restartPolicy: 'Never',
      containers: [{ name: 'script', image: place.cluster.images.sidecar, command, securityContext }],
    },
  };
}

/**
 * Runs JavaScript in a pod of its own, which must end within so many seconds, its start among them. Resolves with what it
 * printed, rejects with it when it failed.
 */
export async function runScript(place: Place, name: string, script: string, seconds = 60): Promise<string> {
  await place.apply(scriptPod(place, name, script));
  const phase = await eventually(
    `the end of pod ${name}`,
    async () => {
      const found = await place.kubectl(['get', 'pod', name, '-o', 'jsonpath={.status.phase}']);
      if (found === 'Succeeded' || found === 'Failed') return found;
      throw new Error(found);
    },
    seconds,
  );
  const text = await place.kubectl(['logs', name]);
  await place.kubectl(['delete', 'pod', name, '--wait=false']);
  if (phase === 'Failed') throw new Error(text);
  return text;
}

/**
 * Reads a URL from a pod of its own, as soon as it can be reached. Names and Services are known to pods a little after the API
 * server knows them: a second or two, after an outage up to a minute, since CoreDNS and kube-proxy ask for them again only at
 * the end of their backoff. Until then there is no name, or a refusal, or a packet lost.
 */
export const readInside = (place: Place, name: string, url: string): Promise<string> =>
  runScript(
    place,
    name,
    `const until = Date.now() + 120_000;
    const early = (error) => error.name === 'TimeoutError' || ['ENOTFOUND', 'EAI_AGAIN', 'ECONNREFUSED'].includes(error.cause?.code);
    let text; while (text === undefined) {
      try { text = await (await fetch('${url}', { signal: AbortSignal.timeout(2_000) })).text() }
      catch (error) {
        if (!early(error) || Date.now() > until) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    console.log(text)`,
    150,
  );

const output = (place: Place, object: string) => place.kubectl(['logs', object, '-c', 'agent', '--tail=-1']);

const parsed = (text: string): (Line & { at: number })[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));

/** The lines that an agent printed until now. */
export const linesOf = async (place: Place, object: string) => parsed(await output(place, object));

/** Waits for the first line of a kind that an agent prints. */
export const firstLine = <Event extends Line['event']>(place: Place, object: string, event: Event) =>
  eventually(
    `a ${event} of ${object}`,
    async () => {
      const text = await output(place, object);
      const found = parsed(text).find((line) => line.event === event);
      if (found) return found as Extract<Line, { event: Event }> & { at: number };
      throw new Error(text.slice(-500));
    },
    90,
  );

/** The MACP runtime as a Deployment with a Service, that trusts an issuer; it judges over gRPC and over HTTP. */
function runtimeObjects(place: Place, jwksURL: string) {
  const selector = { app: 'runtime' };
  const env = {
    MACP_AUTH_JWKS_URL: jwksURL,
    MACP_AUTH_ISSUER: 'macp-auth-service',
    MACP_AUTH_AUDIENCE: 'macp-runtime',
    MACP_AUTH_JWKS_TTL_SECS: '1',
    MACP_ALLOW_INSECURE: '1',
    MACP_MEMORY_ONLY: '1',
    MACP_BIND_ADDR: '0.0.0.0:50051',
    MACP_HTTP_BIND_ADDR: '0.0.0.0:8080',
    // Its limits for each sender would refuse an agent that never pauses.
    MACP_SESSION_START_LIMIT_PER_MINUTE: '1000000',
    MACP_MESSAGE_LIMIT_PER_MINUTE: '1000000',
    RUST_LOG: 'info',
    NO_COLOR: '1',
  };
  const container = {
    name: 'runtime',
    image: place.cluster.images.runtime,
    env: variables(env),
    readinessProbe: { httpGet: { path: '/.well-known/macp.json', port: 8080 }, periodSeconds: 1 },
    securityContext,
  };
  return [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'runtime' },
      spec: {
        selector: { matchLabels: selector },
        template: { metadata: { labels: selector }, spec: { ...podSecurity, containers: [container] } },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'runtime' },
      spec: {
        selector,
        ports: [
          { name: 'grpc', port: 50051 },
          { name: 'http', port: 8080 },
        ],
      },
    },
  ];
}

/** Where agents of the same namespace find that runtime. */
export const runtimeVariables = { RUNTIME_URL: 'http://runtime:8080', RUNTIME_TARGET: 'runtime:50051' };

/** Starts a runtime that trusts an issuer; returns when another pod of the namespace has reached it. */
export async function startRuntime(place: Place, jwksURL: string): Promise<void> {
  await place.apply(...runtimeObjects(place, jwksURL));
  await place.wait('deployment/runtime', 'Available');
  await readInside(place, 'reach-runtime', `${runtimeVariables.RUNTIME_URL}/.well-known/macp.json`);
}
