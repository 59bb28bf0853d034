/** What tests need to know of the cluster that they share. */
export interface ClusterInfo {
  kubeconfigPath: string;
  kubectlPath: string;
  images: Record<'sidecar' | 'operator' | 'runtime' | 'python', string>;
  /** The release before's, where a cluster was given; on the tests' own node they are built when a test asks for them. */
  former?: Record<'sidecar' | 'operator', string>;
  /** Of a node that the tests started; a cluster that was given is nobody's to harm. */
  node?: { auditLogPath: string };
}

/** What the node's owner does to it for a test: the arguments of each call. */
export interface NodeTask {
  stopAPIServer: [];
  startAPIServer: [];
  importImage: [file: string];
  nft: [args: string[], input?: string];
}

/** Names the socket on which the owner of the cluster answers. */
export const socketVariable = 'MACP_E2E_SOCKET';
