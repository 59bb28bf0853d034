/** Sockets in a private folder: no port to collide on, and no etcd that other users of the machine could write to. */
export function etcdArgs(dataDir: string, socket: string, peerSocket: string): string[] {
  return [
    '--name=test',
    `--data-dir=${dataDir}`,
    '--unsafe-no-fsync',
    `--listen-client-urls=unix://${socket}`,
    `--advertise-client-urls=unix://${socket}`,
    `--listen-peer-urls=unix://${peerSocket}`,
    `--initial-advertise-peer-urls=unix://${peerSocket}`,
    `--initial-cluster=test=unix://${peerSocket}`,
    '--log-level=warn',
  ];
}

/** What a control plane serves: pods that are processes of this machine, on loopback, or a node at its address. */
export type Network = 'loopback' | { nodeAddress: string };

/** The range of Service addresses. */
export const serviceRange = '10.0.0.0/16';

// EndpointSlices refuse loopback addresses.
const onLoopback = [
  '--bind-address=127.0.0.1',
  '--advertise-address=127.0.0.1',
  '--endpoint-reconciler-type=none',
  '--authorization-mode=RBAC',
];

const onNode = (dir: string, address: string) => [
  '--bind-address=0.0.0.0',
  `--advertise-address=${address}`,
  '--authorization-mode=Node,RBAC',
  '--enable-admission-plugins=NodeRestriction',
  '--kubelet-preferred-address-types=InternalIP',
  `--kubelet-client-certificate=${dir}/kubelet-client.crt`,
  `--kubelet-client-key=${dir}/kubelet-client.key`,
];

/** The API server on a port. */
export function apiServerArgs(
  dir: string,
  port: number,
  etcdSocket: string,
  network: Network = 'loopback',
): string[] {
  return [
    ...(network === 'loopback' ? onLoopback : onNode(dir, network.nodeAddress)),
    `--etcd-servers=unix://${etcdSocket}`,
    `--secure-port=${port}`,
    `--cert-dir=${dir}/certs`,
    `--token-auth-file=${dir}/tokens.csv`,
    // As in nearly every cluster: what is privileged is for policies to refuse.
    '--allow-privileged=true',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${dir}/sa.pub`,
    `--service-account-signing-key-file=${dir}/sa.key`,
    `--service-cluster-ip-range=${serviceRange}`,
    `--audit-policy-file=${dir}/audit-policy.json`,
    `--audit-log-path=${dir}/audit.log`,
    // No rotation: counts are over the whole run.
    '--audit-log-maxsize=100000',
  ];
}

// Pods have loopback addresses, which EndpointSlices refuse; and the process kubelet sends no heartbeats.
const controllersOnLoopback =
  '--controllers=*,-endpoints-controller,-endpointslice-controller,-node-lifecycle-controller';

/** All controllers that have something to do there. */
export function controllerManagerArgs(dir: string, network: Network = 'loopback'): string[] {
  return [
    `--kubeconfig=${dir}/controller-manager.kubeconfig`,
    ...(network === 'loopback' ? [controllersOnLoopback] : []),
    '--leader-elect=false',
    // Which it makes, in /usr unless told.
    `--flex-volume-plugin-dir=${dir}/volume-plugins`,
    `--root-ca-file=${dir}/ca.crt`,
    `--service-account-private-key-file=${dir}/sa.key`,
    '--kube-api-qps=300',
    '--kube-api-burst=600',
    '--secure-port=0',
  ];
}
