import type { Logger } from 'pino';
import { annotations, issuerLabel, labels, type MacpAuthIssuer } from '../api/names.ts';
import { type ApiClient, briefly, isStatus } from '../cluster/client.ts';
import type { Limiter } from '../cluster/limiter.ts';
import { type KubeObject, resources } from '../cluster/resources.ts';

interface TouchRequest {
  client: ApiClient;
  log: Logger;
  issuer: MacpAuthIssuer;
  /** How many requests there are at a time: who calls must not hold a place in it. */
  limit: Limiter;
}

/**
 * Makes kubelet look at the files of an issuer's pods at once, by changing an annotation of theirs to the
 * resourceVersion that was just written: by itself it takes over a minute. Nothing rests on it: what is late for it
 * arrives within `spec.rotation.propagation`.
 */
export async function touchPods(
  { client, log, issuer, limit }: TouchRequest,
  namespace: string,
  written: string,
): Promise<void> {
  const labelSelector = `${labels.issuer}=${issuerLabel(issuer.metadata)}`;
  const patch = { metadata: { annotations: { [annotations.filesVersion]: written } } };
  const touch = async ({ metadata }: KubeObject) => {
    if (metadata.deletionTimestamp !== undefined) return;
    await client.mergePatch(resources.pods, namespace, metadata.name, patch).catch((error) => {
      if (!isStatus(error, 404)) throw error;
    });
  };
  try {
    const query = { labelSelector, fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed' };
    const { items } = await limit(() => client.list(resources.pods, namespace, query));
    const results = await Promise.allSettled(items.map((pod) => limit(() => touch(pod))));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  } catch (error) {
    const reason = briefly(error);
    log.warn(
      { namespace, issuer: issuerLabel(issuer.metadata), reason },
      'pods could not be made to look at once',
    );
  }
}
