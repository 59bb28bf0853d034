import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, jest, test } from '@jest/globals';
import { type Kubectl, kubectlFor } from '../local/kubectl.ts';
import { type ClusterNode, startNode } from '../node/node.ts';
import { apply, container, eventually, getFrom, waitFor } from './workloads.ts';

jest.setTimeout(300_000);

const log = (line: string) => process.stderr.write(`${line}\n`);

/** `npm run cluster -- --json`, as a process of its own. */
async function startOwner() {
  const owner = spawn(process.execPath, [join(import.meta.dirname, '../node/main.ts'), '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await Promise.race([
    once(createInterface(owner.stdout), 'line'),
    once(owner, 'exit').then(([code]) => Promise.reject(new Error(`the owner ended with ${code}`))),
  ]);
  return { owner, ...JSON.parse(line) } as {
    owner: typeof owner;
    kubeconfig: string;
    kubectl: string;
    enter: string[];
  };
}

const namespaces = (pid: string) => {
  const names: string[] = [];
  for (const kind of ['mnt', 'net', 'pid']) {
    try {
      names.push(readlinkSync(`/proc/${pid}/ns/${kind}`));
    } catch {
      // It has ended in between.
    }
  }
  return names;
};

/** All that a node has of this machine, and how to see what is left of it. */
function traces(enter: readonly string[], kubeconfig: string) {
  const init = String(enter[enter.indexOf('-t') + 1]);
  const inside = namespaces(init);
  expect(inside).toHaveLength(3);
  const dir = dirname(dirname(kubeconfig));
  const cgroup = dir.slice(dir.lastIndexOf('/') + 1);
  const mountPoints = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  const groups = mountPoints
    .map((line) => line.split(' '))
    .filter(([, , type]) => type?.startsWith('cgroup'))
    .map(([, folder]) => join(String(folder), cgroup));
  expect(groups.filter(existsSync).length).toBeGreaterThan(0);
  return () => [
    ...readdirSync('/proc')
      .filter((pid) => /^\d+$/.test(pid))
      .filter((pid) => namespaces(pid).some((name) => inside.includes(name)))
      .map((pid) => `process ${pid}`),
    // Those that serve it out here.
    ...readdirSync('/proc')
      .filter((pid) => /^\d+$/.test(pid) && commandLine(pid).includes(dir))
      .map((pid) => `process ${pid} ${commandLine(pid)}`),
    ...[dir, ...groups].filter(existsSync),
  ];
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

// What every process of this machine shares; others may mount what they build in the folder for temporary files.
const machine = () => ({
  mounts: readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes('macp-node') || !line.split(' ')[4]?.startsWith(`${tmpdir()}/`)),
  interfaces: readdirSync('/sys/class/net').sort(),
  routes: readFileSync('/proc/net/route', 'utf8'),
  folders: ['/etc', '/opt', '/usr/libexec', '/var/lib', '/var/log']
    .filter(existsSync)
    .map((folder) => readdirSync(folder).sort()),
  sysctls: ['vm/overcommit_memory', 'kernel/panic', 'kernel/panic_on_oops', 'net/ipv4/ip_forward'].map(
    (name) => readFileSync(`/proc/sys/${name}`, 'utf8'),
  ),
});

const nothing = (left: string[]) => left.length === 0;

const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'one' } };
const spec = { containers: [container('one', 'pause')] };

test('two nodes run side by side, and nothing of either is left: of one whose owner is killed, of one that is stopped', async () => {
  const before = machine();
  let mine: ClusterNode | undefined;
  const other = await startOwner();
  try {
    mine = await startNode({ log });
    await apply(mine, { ...pod, spec });
    await waitFor(mine, 'pod/one', 'Ready');
    const theirs = { kubectl: kubectlFor(other.kubectl, other.kubeconfig) };
    await apply(theirs, { ...pod, spec });
    await waitFor(theirs, 'pod/one', 'Ready');
    const uid = (node: { kubectl: Kubectl }) =>
      node.kubectl.run(['get', 'pod', 'one', '-o', 'jsonpath={.metadata.uid}']);
    expect(await uid(theirs)).not.toBe(await uid(mine));
    expect(machine()).toEqual(before);

    const ofOther = traces(other.enter, other.kubeconfig);
    expect(ofOther().length).toBeGreaterThan(10);
    other.owner.kill('SIGKILL');
    await eventually(async () => ofOther(), nothing);
    // The one that was not killed goes on.
    await expect(getFrom(mine, 'one', 'http://127.0.0.1:1')).rejects.toThrow('connection refused');

    const ofMine = traces(mine.enter, mine.kubeconfigPath);
    expect(ofMine().length).toBeGreaterThan(10);
    await mine.stop();
    expect(ofMine()).toEqual([]);
    expect(machine()).toEqual(before);
  } finally {
    other.owner.kill('SIGKILL');
    await mine?.stop();
  }
});
