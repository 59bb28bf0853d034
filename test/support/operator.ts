import { closeSync, openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { nodeOptions } from '../../operator/bundle/command.ts';
import { signalGroup, spawnTethered } from './process.ts';

/** Image name under which the process kubelet runs the sidecar's program. */
export const sidecarImage = 'macp-auth-sidecar:dev';

/** What runs in place of that image. */
export const sidecarCommand = [
  process.execPath,
  fileURLToPath(new URL('../../sidecar/main.ts', import.meta.url)),
];

const sources = fileURLToPath(new URL('../../operator/main.ts', import.meta.url));

/** An operator process, started as a user starts it. */
export interface OperatorProcess {
  readonly pid: number;
  /** What was run. */
  readonly command: string[];
  /** Everything that it printed so far. */
  output(): string;
  signal(name: NodeJS.Signals): void;
  /** Resolves with the exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** SIGTERM, and SIGKILL if it is not gone after ten seconds. */
  stop(): Promise<number | NodeJS.Signals>;
}

/** Starts the operator with a kubeconfig, for some namespaces or all, with further flags. */
export function startOperator(options: {
  kubeconfigPath: string;
  logFile: string;
  namespaces?: readonly string[];
  flags?: readonly string[];
  /** What is started in place of the sources: the bundle. */
  program?: string;
  /** Further variables of its environment. */
  env?: Record<string, string>;
}): OperatorProcess {
  const command = [
    process.execPath,
    ...nodeOptions,
    options.program ?? sources,
    ...['--kubeconfig', options.kubeconfigPath],
    ...(options.namespaces ? ['--namespaces', options.namespaces.join(',')] : []),
    ...['--health-address', '127.0.0.1', '--health-port', '0'],
    ...(options.flags ?? ['--sidecar-image', sidecarImage]),
  ];
  const file = openSync(options.logFile, 'a');
  const child = spawnTethered(command, {
    stdio: ['ignore', file, file],
    env: { ...process.env, ...options.env },
  });
  closeSync(file);
  const { pid } = child;
  if (pid === undefined) throw new Error('the operator could not be started');
  const ended = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 1));
  });
  return {
    pid,
    command,
    output: () => readFileSync(options.logFile, 'utf8'),
    signal: (name) => signalGroup(pid, name),
    ended,
    async stop() {
      signalGroup(pid, 'SIGTERM');
      const timer = setTimeout(() => signalGroup(pid, 'SIGKILL'), 10_000);
      const result = await ended;
      clearTimeout(timer);
      return result;
    },
  };
}
