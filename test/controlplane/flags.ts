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

/** The API server on a port of loopback. */
export function apiServerArgs(dir: string, port: number, etcdSocket: string): string[] {
  return [
    `--etcd-servers=unix://${etcdSocket}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    `--secure-port=${port}`,
    `--cert-dir=${dir}/certs`,
    `--token-auth-file=${dir}/tokens.csv`,
    '--authorization-mode=RBAC',
    // As in nearly every cluster: what is privileged is for policies to refuse.
    '--allow-privileged=true',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${dir}/sa.pub`,
    `--service-account-signing-key-file=${dir}/sa.key`,
    '--service-cluster-ip-range=10.0.0.0/16',
    // EndpointSlices refuse loopback addresses.
    '--endpoint-reconciler-type=none',
    `--audit-policy-file=${dir}/audit-policy.json`,
    `--audit-log-path=${dir}/audit.log`,
    // No rotation: counts are over the whole run.
    '--audit-log-maxsize=100000',
  ];
}

/** All controllers that have something to do here. */
export function controllerManagerArgs(dir: string): string[] {
  return [
    `--kubeconfig=${dir}/controller-manager.kubeconfig`,
    // Pods have loopback addresses, which EndpointSlices refuse; and the process kubelet sends no heartbeats.
    '--controllers=*,-endpoints-controller,-endpointslice-controller,-node-lifecycle-controller',
    '--leader-elect=false',
    `--root-ca-file=${dir}/ca.crt`,
    `--service-account-private-key-file=${dir}/sa.key`,
    '--kube-api-qps=300',
    '--kube-api-burst=600',
    '--secure-port=0',
  ];
}
