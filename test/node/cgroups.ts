import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

// What kubelet insists on, of cgroup v2.
const controllers = ['cpu', 'cpuset', 'hugetlb', 'memory', 'pids'];

/**
 * Makes a cgroup below the root of each hierarchy, for a node's pods: one on cgroup v2, one for each controller on v1.
 * Returns their folders, which are to be removed from the inside out.
 */
export function makeCgroups(name: string): string[] {
  return hierarchies().map(({ type, folder }) => {
    const group = join(folder, name);
    if (type === 'cgroup2' && controls(folder)) delegate(folder);
    mkdirSync(group);
    // On v1 no process may enter before it is said which processors and memory it may use.
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if (type === 'cgroup' && existsSync(join(folder, file))) {
        writeFileSync(join(group, file), readFileSync(join(folder, file)));
      }
    }
    return group;
  });
}

function hierarchies(): { type: string; folder: string }[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .map(([, folder = '', type = '']) => ({ type, folder }))
    .filter(({ type, folder }) => type.startsWith('cgroup') && folder.startsWith('/sys/fs/cgroup'));
}

// On a machine with both versions, v2 has no controller.
function controls(folder: string): boolean {
  return readFileSync(join(folder, 'cgroup.controllers'), 'utf8').trim() !== '';
}

function delegate(folder: string): void {
  const available = readFileSync(join(folder, 'cgroup.controllers'), 'utf8').trim().split(' ');
  const enabled = readFileSync(join(folder, 'cgroup.subtree_control'), 'utf8').trim().split(' ');
  for (const controller of controllers) {
    if (!available.includes(controller) || enabled.includes(controller)) continue;
    try {
      writeFileSync(join(folder, 'cgroup.subtree_control'), `+${controller}`);
    } catch (error) {
      throw new Error(
        `cgroup controller ${controller} cannot be given to pods (${(error as Error).message}): processes in the root cgroup of a container stand in the way; run this on the machine itself`,
      );
    }
  }
}
