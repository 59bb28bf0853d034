import { crdName } from '../../../operator/api/names.ts';
import type { Kubectl } from '../../local/kubectl.ts';
import { chart, helm, release } from '../../support/helm.ts';
import type { Log } from '../../support/process.ts';
import type { ClusterInfo } from './info.ts';

/** Where to install, and what. */
export interface Target extends Pick<ClusterInfo, 'kubeconfigPath' | 'images'> {
  kubectl: Kubectl;
  log: Log;
}

/** Runs helm on the release of the tests; resolves with what it printed. */
export function runHelm(target: Target, args: string[], values: object = {}): Promise<string> {
  const { log, kubeconfigPath } = target;
  const where = ['--namespace', release.namespace, '--kubeconfig', kubeconfigPath];
  return helm({ log, args: [...args, ...where], values });
}

/**
 * Installs a chart, that of this tree if none is given, as docs/installation.md says, in a namespace with the restricted Pod Security
 * standard, or brings what is there back to that; returns when the operator's pods are Ready.
 */
export async function install(target: Target, from = chart): Promise<void> {
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: release.namespace, labels } };
  await target.kubectl.run(['apply', '-f', '-'], JSON.stringify(namespace));
  const { operator, sidecar } = target.images;
  await runHelm(
    target,
    ['upgrade', '--install', release.name, from, '--values', '-', '--wait', '--timeout', '180s'],
    { operator: { image: operator }, sidecar: { image: sidecar } },
  );
}

/** What is there of all that {@link uninstall} takes away, whoever brought it: `TYPE/NAME`, one a line. */
export const whatIsThere = async ({ kubectl }: Pick<Target, 'kubectl'>): Promise<string> =>
  (
    await kubectl.run([
      ...['get', `namespace/${release.namespace}`, `crd/${crdName}`],
      ...['--ignore-not-found', '-o', 'name'],
    ])
  ).trim();

/** Takes away what {@link install} brought, or what is there of it, the CRD too. */
export async function uninstall(target: Target): Promise<void> {
  await runHelm(target, ['uninstall', release.name, '--ignore-not-found', '--wait', '--timeout', '120s']);
  const { kubectl } = target;
  const remove = (object: string, timeout: string) =>
    kubectl.run(['delete', object, '--ignore-not-found', `--timeout=${timeout}`]);
  await remove(`namespace/${release.namespace}`, '120s');
  await remove(`crd/${crdName}`, '60s');
}
