import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ensureProgram, type GoProgram } from './go-toolchain.ts';
import type { Log } from './process.ts';

const run = promisify(execFile);

const program: GoProgram = {
  name: 'helm',
  source: join(import.meta.dirname, 'toolchain/helm'),
  module: 'helm.sh/helm/v4',
  package: 'helm.sh/helm/v4/cmd/helm',
  title: 'Helm',
  variable: 'MACP_HELM',
  ready: 'a helm of version 4',
};

/** Path of helm: MACP_HELM where that is set, else the cache's, else built with Go, once. */
export const ensureHelm = (log: Log): Promise<string> => ensureProgram(program, log);

/** The folder of the chart. */
export const chart = join(import.meta.dirname, '../../charts/macp-auth-operator');

/** Where the chart is installed, here and in what tests expect of it. */
export const release = { name: 'macp-auth-operator', namespace: 'macp-auth-system' };

/** Runs helm, with nothing of the user's own configuration; resolves with what it printed, rejects with its own words. */
export async function helm(options: {
  log: Log;
  args: string[];
  /** Values, for `--values -` among the arguments. */
  values?: object;
  /** Further variables of its environment. */
  env?: Record<string, string>;
}): Promise<string> {
  const running = run(await ensureHelm(options.log), options.args, {
    env: { PATH: process.env.PATH, HOME: '/nonexistent', ...options.env },
    maxBuffer: 2 ** 24,
  });
  // One that ended before it has read all says itself what was wrong.
  running.child.stdin?.on('error', () => {});
  running.child.stdin?.end(JSON.stringify(options.values ?? {}));
  const { stdout } = await running.catch((error: { stderr?: string; message: string }) => {
    throw new Error(error.stderr?.trim() || error.message);
  });
  return stdout;
}

/** What `helm template` makes of our chart, as YAML; rejects with helm's own words. */
export async function renderChart(options: {
  log: Log;
  values: object;
  /** As if that cluster were installed to; else the one that helm was built for. */
  kubeVersion?: string;
  /** These templates only, by patterns such as `policies/*`. */
  only?: string[];
  /** Further flags. */
  flags?: string[];
}): Promise<string> {
  const { log, values, kubeVersion, only = [], flags = [] } = options;
  const args = ['template', release.name, chart, '--namespace', release.namespace, '--values', '-', ...flags];
  if (kubeVersion) args.push('--kube-version', kubeVersion);
  for (const pattern of only) args.push('--show-only', `templates/${pattern}`);
  return helm({ log, args, values });
}
