import { readFileSync } from 'node:fs';

// USER_HZ, which Linux promises to be this on every architecture that Node.js runs on.
const tickMilliseconds = 10;

/** Milliseconds of CPU that a process and its threads have used until now. */
export function cpuMilliseconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is the program's name in parentheses, which may itself contain blanks and parentheses.
  const [user = 0, system = 0] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number);
  return (user + system) * tickMilliseconds;
}

/** Memory of a process, in MiB. */
export interface Memory {
  /** All that is in memory of it, the pages of node's binary among it, which every Node.js on a node shares. */
  rss: number;
  /** Private_Dirty: what each further process of the kind costs. */
  privateDirty: number;
}

/** The memory of a process at this moment. */
export function memoryOf(pid: number): Memory {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const mebibytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(rollup)?.[1]) / 1024;
  return { rss: mebibytes('Rss'), privateDirty: mebibytes('Private_Dirty') };
}
