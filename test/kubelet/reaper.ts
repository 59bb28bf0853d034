import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Ends what is left of a kubelet's containers when the kubelet is killed. */
export interface Reaper {
  /** Notes a process group; call the returned function when it has ended. */
  watch(pid: number): () => void;
  close(): Promise<void>;
}

// The kernel kills the containers' own processes with their parent, but not the processes that those have started.
// This shell waits until the kernel closes its standard input with the kubelet, however that ends.
const script = `cat; cd "$1/groups" && for pid in [0-9]*; do kill -s KILL -- "-$pid"; done; rm -rf "$1"`;

/** Starts a reaper, which also removes `dir` in the end. */
export function startReaper(dir: string): Reaper {
  const groups = join(dir, 'groups');
  mkdirSync(groups);
  // In a session of its own: Ctrl-C must not end it before the kubelet.
  const shell = spawn('sh', ['-c', script, 'reaper', dir], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  const ended = once(shell, 'exit');
  return {
    watch(pid) {
      const file = join(groups, String(pid));
      writeFileSync(file, '');
      return () => rmSync(file, { force: true });
    },
    async close() {
      shell.stdin.end();
      await ended;
    },
  };
}
