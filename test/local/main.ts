// The main job in one command: a cluster, the operator, an issuer, an agent, a token.
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type OperatorProcess, startOperator } from '../support/operator.ts';
import { installPolicies } from '../support/policies.ts';
import { spawnTethered } from '../support/process.ts';
import { ownedTempDir } from '../support/tempdir.ts';
import { readArgs } from './args.ts';
import { applyPrerequisites, type Cluster, embeddedCluster, ownCluster } from './cluster.ts';
import { printJSON, printText } from './print.ts';
import { mintAndVerify } from './token.ts';

const log = (line: string) => process.stderr.write(`${line}\n`);

const waitPatience = '--timeout=120s';

async function applyEverything({ kubectl, sidecarImage }: Cluster): Promise<void> {
  await applyPrerequisites(kubectl);
  const { serverVersion } = JSON.parse(await kubectl.run(['version', '-o', 'json']));
  const user = await kubectl.run(['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}']);
  // Who started this may clean up after it.
  const values = { guards: { exempt: { objects: { users: [user] } } } };
  await installPolicies({ log, kubectl, sidecarImage, values, kubeVersion: serverVersion.gitVersion });
  const sample = await readFile(join(import.meta.dirname, 'sample.yaml'), 'utf8');
  await kubectl.run(['apply', '-f', '-'], sample.replaceAll('macp-auth-sidecar:dev', sidecarImage));
}

// An operator that dies comes back, as a Deployment would bring it back.
function superviseOperator(
  cluster: Cluster,
  kubeconfigPath: string,
): { first: OperatorProcess; stop: () => Promise<void> } {
  const logFile = join(cluster.dir, 'operator.log');
  const start = () => startOperator({ kubeconfigPath, logFile, flags: cluster.operatorFlags });
  let current = start();
  let stopping = false;
  const first = current;
  const follow = async () => {
    for (let waitMs = 500; ; waitMs = Math.min(waitMs * 2, 10_000)) {
      const begun = Date.now();
      const result = await current.ended;
      if (stopping) return;
      // Only one that fails again and again is made to wait, not one that somebody ended to see it come back.
      const failed = typeof result === 'number' && result !== 0;
      if (!failed || Date.now() - begun > 30_000) waitMs = 500;
      log(`the operator ended (${result}; see ${logFile}): starting it again`);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      if (stopping) return;
      current = start();
    }
  };
  void follow();
  return {
    first,
    async stop() {
      stopping = true;
      await current.stop();
    },
  };
}

async function run(): Promise<void> {
  const options = readArgs(process.argv.slice(2));
  const stops: (() => Promise<void>)[] = [];
  const stopAll = async () => {
    while (stops.length > 0) await stops.pop()?.();
  };
  let ending: Promise<void> | undefined;
  let started = false;
  const end = (code: number) => {
    if (!ending) log('stopping');
    ending ??= stopAll().then(() => process.exit(started ? 0 : code));
  };
  process.on('SIGINT', () => end(130));
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => end(143));
  // Whoever reads our output is gone: so is the reason to go on.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => end(1));
  try {
    const dir = await ownedTempDir('macp-start');
    // First in, last out; also when it is interrupted while the cluster starts. Whatever runs then ends with us.
    stops.push(() => rm(dir, { recursive: true, force: true, maxRetries: 10 }));
    const cluster =
      options.kubeconfig === undefined
        ? await embeddedCluster(dir, log)
        : ownCluster(dir, options.kubeconfig, options.sidecarImage as string);
    stops.push(cluster.stop);
    log('applying the CRD, the permissions, the policies and the sample');
    await applyEverything(cluster);
    const operator = superviseOperator(cluster, await cluster.operatorKubeconfig());
    stops.push(operator.stop);

    const { kubectl } = cluster;
    log('waiting for the issuer and the agent');
    await kubectl.run(['wait', '-n', 'default', '--for=condition=Ready', 'mai/sample', waitPatience]);
    await kubectl.run(['wait', '-n', 'default', '--for=condition=Ready', 'pod/sample-agent', waitPatience]);
    const servers = [
      'get',
      'pods',
      '-n',
      'default',
      '-l',
      'app.kubernetes.io/instance=sample,app.kubernetes.io/component=jwks-server',
    ];
    const server = await kubectl.run([...servers, '-o', 'jsonpath={.items[0].metadata.name}']);
    const result = {
      kubeconfig: cluster.kubeconfig,
      kubectl: cluster.kubectlPath,
      mintURL: `${await cluster.podAddress('default', 'sample-agent', 3200)}/tokens`,
      jwksURL: `${await cluster.podAddress('default', server, 3200)}/.well-known/jwks.json`,
      operatorPID: operator.first.pid,
      operatorCommand: operator.first.command.join(' '),
    };
    const verified = await mintAndVerify(result.mintURL, result.jwksURL);
    started = true;
    if (options.json) {
      printJSON(result);
      return;
    }
    printText(result, verified);
    const watch = spawnTethered(
      [cluster.kubectlPath, '--kubeconfig', cluster.kubeconfig, 'get', 'mai', '-A', '--watch'],
      { stdio: ['ignore', 'inherit', 'inherit'] },
    );
    stops.push(async () => void watch.kill());
  } catch (error) {
    if (ending) return ending;
    await stopAll();
    throw error;
  }
}

run().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
