import { join } from 'node:path';
import { kubernetesToolchain } from '../controlplane/binaries.ts';
import { ensureToolchain, type Toolchain } from '../support/go-toolchain.ts';
import { type Log, which } from '../support/process.ts';
import { ensureSystemPrograms, type SystemPrograms } from './debian.ts';

/** The programs of a node, beside those of its control plane, as paths. */
export interface NodePrograms extends SystemPrograms {
  kubelet: string;
  'kube-scheduler': string;
  'kube-proxy': string;
  containerd: string;
  ctr: string;
  coredns: string;
  /** What holds pods open, and stands for a workload in tests; static. */
  pod: string;
}

const purpose = {
  builds: 'the test node',
  instead: 'use a cluster of your own with npm start -- --kubeconfig',
};

const kubernetes = kubernetesToolchain({
  name: 'kubernetes-node',
  purpose,
  programs: ['kubelet', 'kube-scheduler', 'kube-proxy'],
});

const own = (name: string) => ({
  name,
  source: join(import.meta.dirname, 'toolchain', name),
  purpose,
  ldflags: () => '-s -w',
});

const containerdPrograms = 'github.com/containerd/containerd/v2/cmd';

const containerd: Toolchain = {
  ...own('containerd'),
  module: 'github.com/containerd/containerd/v2',
  packages: {
    containerd: `${containerdPrograms}/containerd`,
    'containerd-shim-runc-v2': `${containerdPrograms}/containerd-shim-runc-v2`,
    ctr: `${containerdPrograms}/ctr`,
  },
  ldflags: (version) => `-s -w -X github.com/containerd/containerd/v2/version.Version=${version}`,
};

const coredns: Toolchain = {
  ...own('coredns'),
  module: 'github.com/coredns/coredns',
  packages: { coredns: '.' },
};

const pod: Toolchain = { ...own('pod'), packages: { pod: '.' } };

/** What a node is set up and entered with, and the Debian package of each. */
const tools = {
  unshare: 'util-linux',
  nsenter: 'util-linux',
  mount: 'mount',
  ip: 'iproute2',
  openssl: 'openssl',
  tar: 'tar',
};

/**
 * Finds the programs of a node: in the cache, else by building them with Go (about ten minutes, once) and fetching the
 * distribution's packages. What it cannot get is an error that says what to install.
 */
export async function ensureNodePrograms(log: Log): Promise<NodePrograms> {
  const missing = Object.entries(tools).filter(([tool]) => !which(tool));
  if (missing.length > 0) {
    const names = missing.map(([tool]) => tool).join(', ');
    const install = [...new Set(missing.map(([, name]) => name))].join(' ');
    throw new Error(`a node needs ${names} on PATH (Debian: apt-get install ${install})`);
  }
  const system = await ensureSystemPrograms(log);
  const podDir = await ensureToolchain(pod, log);
  const kubernetesDir = await ensureToolchain(kubernetes, log);
  const containerdDir = await ensureToolchain(containerd, log);
  const corednsDir = await ensureToolchain(coredns, log);
  return {
    ...system,
    kubelet: join(kubernetesDir, 'kubelet'),
    'kube-scheduler': join(kubernetesDir, 'kube-scheduler'),
    'kube-proxy': join(kubernetesDir, 'kube-proxy'),
    containerd: join(containerdDir, 'containerd'),
    ctr: join(containerdDir, 'ctr'),
    coredns: join(corednsDir, 'coredns'),
    pod: join(podDir, 'pod'),
  };
}
