import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { signalGroup, spawnTethered } from '../support/process.ts';
import { ownedTempDir } from '../support/tempdir.ts';
import { makeCgroups } from './cgroups.ts';

/** The namespaces and cgroups of a node. All processes in them end with this process, however this process ends. */
export interface Space {
  /** A folder that is seen from inside and outside at the same path. */
  dir: string;
  /** The name of its cgroup in each hierarchy. */
  cgroup: string;
  /**
   * Goes before a command line, to run it inside: with the node's network, mounts and processes, in the folder /.
   * The program is a child of nsenter, in the same process group: a signal for it goes to the group.
   */
  enter: readonly string[];
  /** Ends all that runs inside; returns when nothing is left. */
  close(): Promise<void>;
}

// The kernel ends the processes, also when the owner is killed, but leaves cgroups and files. This shell waits until the
// kernel closes its standard input with the owner. What is still dying holds its cgroup and may still write a file.
const janitor = `cat
dir=$1
shift
for try in $(seq 300); do
  find "$@" -depth -type d -exec rmdir {} +
  rm -rf "$dir"
  left=
  for path in "$dir" "$@"; do
    [ ! -e "$path" ] || left=$path
  done
  [ -n "$left" ] || exit 0
  sleep 0.1
done
exit 1`;

/** Says so before anything is built for a node that could not start. */
export function requireRoot(): void {
  if (process.getuid?.() !== 0) {
    throw new Error('a node needs root, for namespaces and cgroups of its own: run this as root');
  }
}

// The magic number of statfs(2).
const overlayfs = 0x794c7630;

/** Opens the namespaces of a node with that address; needs root. */
export async function openSpace(address: string, serviceRange: string): Promise<Space> {
  if (statfsSync(tmpdir()).type === overlayfs) {
    throw new Error(`${tmpdir()} is an overlay, as in a container, and images cannot lie on one: set TMPDIR`);
  }
  const dir = await ownedTempDir('macp-node');
  const cgroup = basename(dir);
  const groups = makeCgroups(cgroup);
  // In a session of its own: Ctrl-C must not end it before the owner.
  const cleaner = spawn('sh', ['-c', janitor, 'janitor', dir, ...groups], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  const cleaned = once(cleaner, 'exit');

  const setup = join(import.meta.dirname, 'setup.sh');
  const logFile = join(dir, 'setup.log');
  const errors = openSync(logFile, 'a');
  const unshare = spawnTethered(
    [
      ...['unshare', '--net', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child'],
      ...['--mount-proc', '--', 'sh', setup, dir, address, serviceRange],
    ],
    { stdio: ['ignore', 'pipe', errors] },
  );
  closeSync(errors);
  const ended = once(unshare, 'exit');
  let init = 0;
  const close = async () => {
    // The first process alone where there is one: unshare then ends too, after it has reaped it.
    if (unshare.exitCode === null && unshare.signalCode === null) {
      if (init) process.kill(init, 'SIGKILL');
      else signalGroup(unshare.pid ?? 0, 'SIGKILL');
    }
    await ended;
    cleaner.stdin.end();
    const [code] = await cleaned;
    if (code !== 0) throw new Error(`cgroups ${groups.join(', ')} or ${dir} could not be removed`);
  };
  const lines = createInterface(unshare.stdout as Readable);
  const ready = await Promise.race([once(lines, 'line'), ended.then(() => undefined)]);
  if (!ready) {
    const reason = readFileSync(logFile, 'utf8').trim();
    await close();
    throw new Error(`the namespaces of a node could not be set up: ${reason}`);
  }
  init = Number(readFileSync(`/proc/${unshare.pid}/task/${unshare.pid}/children`, 'utf8'));
  return { dir, cgroup, enter: ['nsenter', '-t', `${init}`, '-m', '-n', '-p', '--'], close };
}
