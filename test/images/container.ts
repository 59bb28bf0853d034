import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { requireLinuxTool, signalGroup, spawnTethered } from '../support/process.ts';
import type { ImageConfig } from './rootfs.ts';

// As root in namespaces of its own: a read-only root file system, /proc, and the loopback interface. Then as the user.
const enter = `
  set -e
  root=$1 user=$2
  shift 2
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  mount -o remount,bind,ro "$root"
  ip link set lo up
  exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" "$@"
`;

/** A running image. */
export interface Container {
  process: ChildProcess;
  /** What it wrote until now, to standard output and error. */
  output(): string;
  /** Runs another program in it, as its user and with its environment. */
  exec(words: string[]): { status: number | null; stdout: string; stderr: string };
  /** Ends it as Kubernetes does; the exit code. */
  stop(): Promise<number | null>;
}

/**
 * Starts an image as a container runtime does under the restricted Pod Security Standard: its user, its environment and
 * its entrypoint, nothing else of this machine, no network but its own loopback interface, a root file system that is
 * read-only, no capability and none to be had. The kernel ends it with this process.
 *
 * @param args go after the entrypoint, as `args` of a pod do.
 */
export function startContainer(
  rootfs: string,
  config: ImageConfig,
  options: { args?: string[]; env?: Record<string, string> } = {},
): Container {
  const variables = [
    ...config.Env,
    ...Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`),
  ];
  const env = Object.fromEntries(
    variables.map((variable) => {
      const at = variable.indexOf('=');
      return [variable.slice(0, at), variable.slice(at + 1)];
    }),
  );
  const inside = [
    'sh',
    '-c',
    enter,
    'sh',
    rootfs,
    config.User,
    ...config.Entrypoint,
    ...(options.args ?? []),
  ];
  const namespaces = ['--net', '--ipc', '--uts', '--mount', '--pid', '--fork', '--kill-child'];
  const child = spawnTethered(['unshare', ...namespaces, ...inside], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (text += chunk));
  const ended = once(child, 'close');
  // The first process of its PID namespace, as this machine counts.
  const init = () => readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim();
  return {
    process: child,
    output: () => text,
    exec(words) {
      const [user, group] = config.User.split(':');
      const target = ['--target', init(), '--mount', '--net', '--pid', '--root', '--wd'];
      return spawnSync(
        requireLinuxTool('nsenter'),
        [...target, `--setuid=${user}`, `--setgid=${group}`, ...words],
        {
          env,
          encoding: 'utf8',
          timeout: 20_000,
        },
      );
    },
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        const pid = init();
        if (pid) process.kill(Number(pid), 'SIGTERM');
        const late = setTimeout(() => child.pid && signalGroup(child.pid, 'SIGKILL'), 15_000);
        await ended;
        clearTimeout(late);
      }
      return child.exitCode;
    },
  };
}
