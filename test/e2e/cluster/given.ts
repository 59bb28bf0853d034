import { accessSync } from 'node:fs';
import { resolve } from 'node:path';
import { ensureBinaries } from '../../controlplane/binaries.ts';
import { type Log, which } from '../../support/process.ts';
import type { ClusterInfo } from './info.ts';

// How the processes of the tests are told what the command line names.
const variables = {
  '--kubeconfig': 'MACP_E2E_KUBECONFIG',
  '--sidecar-image': 'MACP_E2E_SIDECAR_IMAGE',
  '--operator-image': 'MACP_E2E_OPERATOR_IMAGE',
  '--runtime-image': 'MACP_E2E_RUNTIME_IMAGE',
  '--python-image': 'MACP_E2E_PYTHON_IMAGE',
  '--former-sidecar-image': 'MACP_E2E_FORMER_SIDECAR_IMAGE',
  '--former-operator-image': 'MACP_E2E_FORMER_OPERATOR_IMAGE',
};
type Flag = keyof typeof variables;

const flags = Object.keys(variables) as Flag[];
const isFormer = (flag: Flag) => flag.startsWith('--former-');
const isFlag = (name: string): name is Flag => Object.hasOwn(variables, name);

const usage = `usage: npm run test:e2e -- [--kubeconfig FILE --sidecar-image IMAGE --operator-image IMAGE
  --runtime-image IMAGE --python-image IMAGE [--former-sidecar-image IMAGE --former-operator-image IMAGE]]
  [what jest takes]

  --kubeconfig FILE        run on that cluster instead of a node of the tests' own; never used unless given
  --…-image IMAGE          what its nodes get each image by
  --former-…-image IMAGE   those of the release before, which only the test of an upgrade takes

npx node test/e2e/images/main.ts builds the images, and prints them with their flags.`;

/**
 * Takes from a command line the cluster that it names: `env` tells the processes of the tests about it, or that there is
 * none, `rest` is what was not about a cluster. An error says what is missing and how to use it.
 */
export function handOver(args: readonly string[]): { env: Record<string, string>; rest: string[] } {
  const given = new Map<Flag, string>();
  const rest: string[] = [];
  const left = [...args];
  for (let arg = left.shift(); arg !== undefined; arg = left.shift()) {
    const [name = '', ...value] = arg.split('=');
    if (!isFlag(name)) rest.push(arg);
    else if (value.length > 0) given.set(name, value.join('='));
    else given.set(name, left[0]?.startsWith('--') ? '' : (left.shift() ?? ''));
  }
  const file = given.get('--kubeconfig');
  const isNeeded = (flag: Flag) => !isFormer(flag) || [...given.keys()].some(isFormer);
  const lacking = flags.filter((flag) => isNeeded(flag) && !given.get(flag));
  if (given.size > 0 && lacking.length > 0) throw new Error(`${lacking.join(', ')}: not given\n${usage}`);
  if (file !== undefined) {
    try {
      accessSync(file);
    } catch {
      throw new Error(`--kubeconfig ${file}: there is no such file\n${usage}`);
    }
    given.set('--kubeconfig', resolve(file));
  }
  // What a shell has of it already is nobody's word.
  const env = flags.map((flag) => [variables[flag], given.get(flag) ?? '']);
  return { env: Object.fromEntries(env), rest };
}

const told = (flag: Flag): string => process.env[variables[flag]] ?? '';

/** Whether the command line named a cluster. */
export const isGiven = (): boolean => told('--kubeconfig') !== '';

/** The cluster that the command line named, with images that its nodes can get; undefined when it named none. */
export async function givenCluster(log: Log): Promise<ClusterInfo | undefined> {
  if (!isGiven()) return undefined;
  const former = { sidecar: told('--former-sidecar-image'), operator: told('--former-operator-image') };
  return {
    kubeconfigPath: told('--kubeconfig'),
    kubectlPath: which('kubectl') ?? (await ensureBinaries({ log })).kubectl,
    images: {
      sidecar: told('--sidecar-image'),
      operator: told('--operator-image'),
      runtime: told('--runtime-image'),
      python: told('--python-image'),
    },
    ...(former.sidecar && { former }),
  };
}
