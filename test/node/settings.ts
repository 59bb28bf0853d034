import type { NodePrograms } from './programs.ts';

/** The node's name; each node is the only one of its cluster. */
export const nodeName = 'node' as const;
/** Each node has these in a network namespace of its own, so that all may have the same. */
export const nodeAddress = '10.89.0.1';
const podRange = '10.244.0.0/24';

/** Ports at the node's address that say whether Services and names work. */
export const kubeProxyHealthPort = 10256;
export const dnsReadyPort = 8181;

/** Kubelet, as Kubernetes names it. */
export const kubeletUser = `system:node:${nodeName}` as const;

/** The users of the node's programs, with their groups; what each may do comes with Kubernetes. */
export const nodeUsers = {
  [kubeletUser]: ['system:nodes'],
  'system:kube-scheduler': [],
  'system:kube-proxy': [],
  coredns: [],
} satisfies Record<string, string[]>;

/** Where containerd listens, in the node's own /run. */
export const containerdSocket = '/run/containerd/containerd.sock';

/** containerd's configuration file, with `cniDir` for the network of pods. */
export function containerdConfig(programs: NodePrograms, sandboxImage: string, cniDir: string): string {
  const cri = (plugin: string) => `plugins.'io.containerd.cri.v1.${plugin}'`;
  const runtime = `${cri('runtime')}.containerd.runtimes.runc`;
  const quote = JSON.stringify;
  return `version = 3
[grpc]
address = ${quote(containerdSocket)}
[${cri('images')}.pinned_images]
sandbox = ${quote(sandboxImage)}
[${cri('runtime')}]
# In a container or sandbox nobody may ask for less than what there is.
restrict_oom_score_adj = true
[${cri('runtime')}.cni]
bin_dirs = [${quote(programs.cniPlugins)}]
conf_dir = ${quote(cniDir)}
[${runtime}]
runtime_type = 'io.containerd.runc.v2'
[${runtime}.options]
BinaryName = ${quote(programs.runc)}
SystemdCgroup = false
[plugins.'io.containerd.internal.v1.opt']
path = '/var/lib/containerd/opt'
[plugins.'io.containerd.nri.v1.nri']
disable = true
`;
}

/**
 * The network of pods: each has a cable of its own to the node, which routes. On a shared bridge packets between two pods
 * would pass by the node's rules, and Services would need br_netfilter.
 */
export const cniConfig = {
  cniVersion: '1.0.0',
  name: 'node',
  plugins: [
    {
      type: 'ptp',
      ipam: { type: 'host-local', ranges: [[{ subnet: podRange }]], routes: [{ dst: '0.0.0.0/0' }] },
    },
  ],
};

/** Kubelet's configuration file; the API server comes with the certificate `clientCA`. */
export function kubeletConfig(options: { cgroup: string; clientCA: string; podResolvConf: string }): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    containerRuntimeEndpoint: `unix://${containerdSocket}`,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: options.clientCA },
    },
    authorization: { mode: 'Webhook' },
    clusterDNS: [nodeAddress],
    clusterDomain: 'cluster.local',
    resolvConf: options.podResolvConf,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${options.cgroup}`,
    enforceNodeAllocatable: [],
    failCgroupV1: false,
    failSwapOn: false,
    oomScoreAdj: 0,
    makeIPTablesUtilChains: false,
    volumePluginDir: '/var/lib/kubelet/volume-plugins',
    // A developer's disk is often nearly full, and that is no reason to evict pods.
    evictionHard: { 'nodefs.available': '0%', 'imagefs.available': '0%', 'nodefs.inodesFree': '0%' },
    imageGCHighThresholdPercent: 100,
  };
}

/** Kubelet's command line. */
export function kubeletArgs(config: string, kubeconfig: string): string[] {
  return [
    `--config=${config}`,
    `--kubeconfig=${kubeconfig}`,
    `--hostname-override=${nodeName}`,
    `--node-ip=${nodeAddress}`,
  ];
}

/** The scheduler's command line. */
export function schedulerArgs(kubeconfig: string): string[] {
  return [`--kubeconfig=${kubeconfig}`, '--leader-elect=false', '--secure-port=0'];
}

/** kube-proxy's command line. */
export function kubeProxyArgs(kubeconfig: string): string[] {
  return [
    `--kubeconfig=${kubeconfig}`,
    `--hostname-override=${nodeName}`,
    '--proxy-mode=nftables',
    `--cluster-cidr=${podRange}`,
    `--healthz-bind-address=${nodeAddress}:${kubeProxyHealthPort}`,
    '--metrics-bind-address=127.0.0.1:10249',
    // The size of the connection table is the machine's.
    '--conntrack-max-per-core=0',
    '--oom-score-adj=0',
  ];
}

/** CoreDNS: names of the cluster, and nothing else, since nothing else can be reached. */
export function corefile(kubeconfig: string): string {
  return `cluster.local:53 in-addr.arpa:53 {
  bind ${nodeAddress}
  errors
  ready ${nodeAddress}:${dnsReadyPort}
  kubernetes cluster.local in-addr.arpa {
    kubeconfig ${kubeconfig}
    ttl 1
  }
}
.:53 {
  bind ${nodeAddress}
  errors
  template ANY ANY . {
    rcode NXDOMAIN
  }
}
`;
}
