import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ensureToolchain, type Toolchain } from './go-toolchain.ts';
import type { Log } from './process.ts';

const run = promisify(execFile);

const toolchain: Toolchain = {
  name: 'helm',
  source: join(import.meta.dirname, 'toolchain/helm'),
  module: 'helm.sh/helm/v4',
  packages: { helm: 'helm.sh/helm/v4/cmd/helm' },
  ldflags: () => '-s -w',
  purpose: { builds: 'Helm', instead: 'set MACP_HELM to a helm of version 4' },
};

const chart = join(import.meta.dirname, '../../charts/macp-auth-operator');

/** Path of helm: MACP_HELM where that is set, else the cache's, else built with Go (about two minutes, once). */
async function ensureHelm(log: Log): Promise<string> {
  const given = process.env.MACP_HELM;
  if (!given) return join(await ensureToolchain(toolchain, log), 'helm');
  if (!existsSync(given)) throw new Error(`MACP_HELM=${given} is not there: set it to a helm of version 4`);
  return given;
}

/** What `helm template` makes of our chart, as YAML; rejects with helm's own words. */
export async function renderChart(options: {
  log: Log;
  values: object;
  /** As if that cluster were installed to; else the one that helm was built for. */
  kubeVersion?: string;
}): Promise<string> {
  const helm = await ensureHelm(options.log);
  const args = ['template', 'macp-auth-operator', chart, '--namespace', 'macp-auth-system'];
  if (options.kubeVersion) args.push('--kube-version', options.kubeVersion);
  args.push('--values', '-');
  // Nothing of the user's own configuration.
  const running = run(helm, args, {
    env: { PATH: process.env.PATH, HOME: '/nonexistent' },
    maxBuffer: 2 ** 24,
  });
  running.child.stdin?.end(JSON.stringify(options.values));
  const { stdout } = await running.catch((error: { stderr?: string; message: string }) => {
    throw new Error(error.stderr?.trim() || error.message);
  });
  return stdout;
}
