import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import {
  AppsV1Api,
  BatchV1Api,
  CoreV1Api,
  PatchStrategy,
  setHeaderOptions,
  type V1Container,
  type V1PodSpec,
} from '@kubernetes/client-node';
import { isWrite } from '../controlplane/audit.ts';
import { type ControlPlane, kubeletUser, startControlPlane } from '../controlplane/controlplane.ts';
import { type Kubelet, startKubelet } from '../kubelet/kubelet.ts';

// The first run on a machine may have to build the control plane.
jest.setTimeout(900_000);

const namespace = 'default';
const log = (line: string) => process.stderr.write(`${line}\n`);
const folder = mkdtempSync(join(tmpdir(), 'macp-kubelet-test-'));
const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);

// Serves one mounted file, on the address and port that its environment says.
const server = join(folder, 'server.mjs');
writeFileSync(
  server,
  `import { createServer } from 'node:http';
   import { readFileSync } from 'node:fs';
   const server = createServer((request, response) => {
     if (request.url === '/crash') process.exit(3);
     response.end(JSON.stringify({ file: readFileSync(process.env.FILE, 'utf8'), env: process.env }));
   });
   server.listen(8080, process.env.ADDRESS, () => console.log('listening on', process.env.ADDRESS));
   process.on('SIGTERM', () => process.exit(0));`,
);
const images = { server: [process.execPath, server], host: [] };

let controlPlane: ControlPlane;
let kubelet: Kubelet;
let core: CoreV1Api;
let apps: AppsV1Api;

beforeAll(async () => {
  controlPlane = await startControlPlane({ log });
  core = controlPlane.kubeConfig.makeApiClient(CoreV1Api);
  apps = controlPlane.kubeConfig.makeApiClient(AppsV1Api);
  kubelet = await startKubelet({
    kubeConfig: controlPlane.kubeConfigFor({ user: kubeletUser }),
    images,
    log,
    backOff: { baseMs: 100, capMs: 1000 },
  });
});

afterAll(async () => {
  await kubelet?.stop();
  await controlPlane?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function eventually<T>(what: () => Promise<T | undefined | false> | T | undefined | false): Promise<T> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    const value = await what();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not reached: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

const serverContainer: V1Container = {
  name: 'server',
  image: 'server',
  env: [
    { name: 'ADDRESS', value: '0.0.0.0' },
    { name: 'FILE', value: '/etc/greeting/text' },
    { name: 'SELF', value: 'http://127.0.0.1:8080/$(POD)' },
    { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
    { name: 'URL', value: 'http://localhost:8080/$(POD)' },
  ],
  ports: [{ name: 'http', containerPort: 8080 }],
  volumeMounts: [{ name: 'greeting', mountPath: '/etc/greeting' }],
  readinessProbe: { httpGet: { path: '/', port: 'http' } },
};

const createPod = (name: string, spec: Partial<V1PodSpec> & { containers: V1Container[] }) =>
  core.createNamespacedPod({
    namespace,
    body: { metadata: { name }, spec: { restartPolicy: 'Never', ...spec } },
  });
const readPod = (name: string) => core.readNamespacedPod({ namespace, name });
const alive = (pid: number | undefined) => existsSync(`/proc/${pid}`);
// A process that ended but that nobody has waited for is none.
const groupAlive = (leader: number) =>
  readdirSync('/proc').some((pid) => {
    try {
      const [state, , group] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
      return Number(group) === leader && state !== 'Z';
    } catch {
      return false;
    }
  });
const shell = (name: string, script: string): V1Container => ({
  name,
  image: 'host',
  command: ['sh', '-c', script],
});

test('a Deployment becomes available, follows its ConfigMap, restarts after a crash, and ends with its processes', async () => {
  await core.createNamespacedConfigMap({
    namespace,
    body: { metadata: { name: 'greeting' }, data: { text: 'one' } },
  });
  const labels = { app: 'server' };
  const volumes = [{ name: 'greeting', configMap: { name: 'greeting' } }];
  await apps.createNamespacedDeployment({
    namespace,
    body: {
      metadata: { name: 'server' },
      spec: {
        replicas: 2,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [serverContainer], volumes } },
      },
    },
  });
  const deployment = () => apps.readNamespacedDeployment({ namespace, name: 'server' });
  await eventually(async () => (await deployment()).status?.availableReplicas === 2);

  const [pod, other] = (await core.listNamespacedPod({ namespace, labelSelector: 'app=server' })).items;
  const name = pod?.metadata?.name ?? '';
  const ip = pod?.status?.podIP ?? '';
  expect(ip).not.toBe(other?.status?.podIP);
  const get = async () => JSON.parse(await (await fetch(`http://${ip}:8080/`)).text());
  const { file, env } = await get();
  expect(file).toBe('one');
  expect(env).toMatchObject({
    POD: name,
    SELF: `http://${ip}:8080/$(POD)`,
    URL: `http://${ip}:8080/${name}`,
  });
  expect(env).not.toHaveProperty('NODE_OPTIONS');
  expect(await kubelet.logs(namespace, name, 'server')).toContain(`listening on ${ip}`);

  const setText = (text: string) =>
    core.patchNamespacedConfigMap({ namespace, name: 'greeting', body: { data: { text } } }, merge);
  await setText('two');
  await eventually(async () => (await get()).file === 'two');
  await kubelet.freeze(namespace, name);
  await setText('three');
  const otherFile = kubelet.pod(namespace, other?.metadata?.name ?? '')?.volumes.greeting ?? '';
  await eventually(async () => (await readFile(join(otherFile, 'text'), 'utf8')) === 'three');
  expect((await get()).file).toBe('two');
  await kubelet.thaw(namespace, name);
  await eventually(async () => (await get()).file === 'three');

  const before = kubelet.pod(namespace, name)?.containers.server?.pid;
  await fetch(`http://${ip}:8080/crash`).catch(() => {});
  const restarted = await eventually(async () => {
    const [status] = (await readPod(name)).status?.containerStatuses ?? [];
    return status?.ready && status.restartCount === 1 && status;
  });
  expect(restarted.lastState?.terminated).toMatchObject({ exitCode: 3, reason: 'Error' });
  expect(alive(before)).toBe(false);

  const pid = kubelet.pod(namespace, name)?.containers.server?.pid;
  expect(alive(pid)).toBe(true);
  await apps.deleteNamespacedDeployment({ namespace, name: 'server', propagationPolicy: 'Foreground' });
  await eventually(
    async () => (await core.listNamespacedPod({ namespace, labelSelector: 'app=server' })).items.length === 0,
  );
  expect(alive(pid)).toBe(false);
  await eventually(() => !existsSync(join(kubelet.dir, 'pods', `${namespace}_${name}`)));
});

test('a pod waits for its Secret, and says so once', async () => {
  await createPod('waiting', {
    containers: [{ ...shell('main', 'cat /keys/a'), volumeMounts: [{ name: 'keys', mountPath: '/keys' }] }],
    volumes: [{ name: 'keys', secret: { secretName: 'late' } }],
  });
  const events = async () =>
    (await core.listNamespacedEvent({ namespace })).items.filter(({ reason }) => reason === 'FailedMount');
  await eventually(async () => (await events()).length > 0);
  expect((await readPod('waiting')).status?.containerStatuses?.[0]?.state?.waiting?.reason).toBe(
    'ContainerCreating',
  );
  await core.createNamespacedSecret({
    namespace,
    body: { metadata: { name: 'late' }, stringData: { a: 'here' } },
  });
  await eventually(async () => (await readPod('waiting')).status?.phase === 'Succeeded');
  expect(await kubelet.logs(namespace, 'waiting', 'main')).toBe('here');
  expect(await events()).toHaveLength(1);
});

test('an unknown image waits with ErrImagePull, a crash loop with CrashLoopBackOff and its last words', async () => {
  await createPod('unknown', { containers: [{ name: 'main', image: 'nowhere:1' }] });
  await createPod('crashing', {
    restartPolicy: 'Always',
    containers: [shell('main', 'echo last words; exit 4')],
  });
  const status = async (name: string) => (await readPod(name)).status?.containerStatuses?.[0];
  const pull = await eventually(async () => {
    const waiting = (await status('unknown'))?.state?.waiting;
    return waiting?.reason === 'ErrImagePull' && waiting;
  });
  expect(pull.message).toContain('image "nowhere:1" is unknown');
  const crash = await eventually(async () => {
    const now = await status('crashing');
    return now?.state?.waiting?.reason === 'CrashLoopBackOff' && now;
  });
  expect(crash.lastState?.terminated).toMatchObject({ exitCode: 4, message: 'last words' });
});

test('a Job with a native sidecar finishes: init containers in order, the sidecar ready before them, ended last', async () => {
  const order = join(folder, 'order');
  const sidecar: V1Container = {
    ...serverContainer,
    name: 'sidecar',
    restartPolicy: 'Always',
    startupProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
  };
  const reach = `${process.execPath} -e 'fetch("http://"+process.env.IP+":8080/").then(() => console.log("up"))'`;
  const init = {
    ...shell('init', `${reach} >> ${order}`),
    env: [{ name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }],
  };
  const batch = controlPlane.kubeConfig.makeApiClient(BatchV1Api);
  await batch.createNamespacedJob({
    namespace,
    body: {
      metadata: { name: 'job' },
      spec: {
        template: {
          spec: {
            restartPolicy: 'Never',
            initContainers: [sidecar, init],
            containers: [shell('main', `echo main >> ${order}`)],
            volumes: [{ name: 'greeting', configMap: { name: 'greeting' } }],
          },
        },
      },
    },
  });
  await eventually(
    async () => (await batch.readNamespacedJob({ namespace, name: 'job' })).status?.succeeded === 1,
  );
  expect(await readFile(order, 'utf8')).toBe('up\nmain\n');
  const [pod] = (
    await core.listNamespacedPod({ namespace, labelSelector: 'batch.kubernetes.io/job-name=job' })
  ).items;
  const [ended] = pod?.status?.initContainerStatuses ?? [];
  expect(ended?.state?.terminated).toMatchObject({ exitCode: 0, reason: 'Completed' });
});

test('pods run through an outage of the API server, and their statuses follow', async () => {
  const flag = join(folder, 'flag');
  await createPod('steady', { containers: [shell('main', `until [ -e ${flag} ]; do sleep 0.05; done`)] });
  await eventually(async () => (await readPod('steady')).status?.phase === 'Running');
  const pid = kubelet.pod(namespace, 'steady')?.containers.main?.pid;
  await controlPlane.apiServer.stop();
  await expect(readPod('steady')).rejects.toThrow();
  expect(alive(pid)).toBe(true);
  writeFileSync(flag, '');
  await eventually(() => !alive(pid));
  await controlPlane.apiServer.start();
  await eventually(async () => (await readPod('steady')).status?.phase === 'Succeeded');
});

test('a quiet cluster has no writes of the kubelet', async () => {
  await core.deleteNamespacedPod({ namespace, name: 'crashing', gracePeriodSeconds: 0 });
  await eventually(() => !kubelet.pod(namespace, 'crashing'));
  const writes = () =>
    controlPlane.readAudit((event) => event.user.username === kubeletUser && isWrite(event));
  const before = (await writes()).length;
  expect(before).toBeGreaterThan(0);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect(await writes()).toHaveLength(before);
});

test('nothing is left after stop, nor after the owner is killed', async () => {
  await createPod('victim', { containers: [shell('main', 'sleep 1000 & sleep 1000')] });
  const pid = await eventually(() => kubelet.pod(namespace, 'victim')?.containers.main?.pid);
  await kubelet.stop();
  await eventually(() => !groupAlive(pid));
  expect(existsSync(kubelet.dir)).toBe(false);
  await core.deleteNamespacedPod({ namespace, name: 'victim', gracePeriodSeconds: 0 }).catch(() => {});

  const script = join(folder, 'owner.ts');
  writeFileSync(
    script,
    `import { KubeConfig } from ${JSON.stringify(import.meta.resolve('@kubernetes/client-node'))};
     import { startKubelet } from ${JSON.stringify(join(import.meta.dirname, '../kubelet/kubelet.ts'))};
     const kubeConfig = new KubeConfig();
     kubeConfig.loadFromFile(${JSON.stringify(controlPlane.kubeconfigPath)});
     const kubelet = await startKubelet({ kubeConfig, images: { host: [] }, log: () => {} });
     setInterval(() => {
       const pid = kubelet.pod('default', 'orphan')?.containers.main?.pid;
       if (pid) console.log(pid);
     }, 50);`,
  );
  await createPod('orphan', { containers: [shell('main', 'sleep 1000 & sleep 1000')] });
  const owner = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [line] = await once(createInterface(owner.stdout), 'line');
    expect(groupAlive(Number(line))).toBe(true);
    owner.kill('SIGKILL');
    await eventually(() => !groupAlive(Number(line)));
  } finally {
    owner.kill('SIGKILL');
  }
});
