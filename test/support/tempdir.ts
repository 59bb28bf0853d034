import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A fresh temporary folder whose name tells its owner, this process. Folders of the same prefix whose owner is dead
 * (it was killed before it could clean up) are removed first.
 */
export async function ownedTempDir(prefix: string): Promise<string> {
  const namespace = pidNamespace();
  const pattern = new RegExp(`^${prefix}-${namespace}-(\\d+)-(\\d+)-`);
  for (const entry of await readdir(tmpdir())) {
    const [, pid, startTime] = pattern.exec(entry) ?? [];
    if (pid && processStartTime(Number(pid)) !== startTime) {
      await rm(join(tmpdir(), entry), { recursive: true, force: true });
    }
  }
  return mkdtemp(join(tmpdir(), `${prefix}-${namespace}-${process.pid}-${processStartTime(process.pid)}-`));
}

// A process of another PID namespace can share the folder for temporary files, and its pid means nothing here.
function pidNamespace(): string {
  return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
}

/** Tells a process from a later one with the same pid; undefined when there is none. */
function processStartTime(pid: number): string | undefined {
  if (!existsSync(`/proc/${pid}/stat`)) return undefined;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name in parentheses, which may itself contain blanks and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie is dead, although nobody has asked for its exit code yet.
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
