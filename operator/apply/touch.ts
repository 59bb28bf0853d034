import { annotations, issuerLabel, labels, type MacpAuthIssuer } from '../api/names.ts';
import type { ApiClient } from '../cluster/client.ts';
import { resources } from '../cluster/resources.ts';

/**
 * Makes kubelet look at the files of an issuer's pods at once, by changing an annotation of theirs to the
 * resourceVersion that was just written: by itself it takes over a minute. Nothing rests on it: what is late for it
 * arrives within `spec.rotation.propagation`.
 */
export async function touchPods(
  client: ApiClient,
  issuer: MacpAuthIssuer,
  namespace: string,
  written: string,
): Promise<void> {
  const labelSelector = `${labels.issuer}=${issuerLabel(issuer.metadata)}`;
  const { items } = await client
    .list(resources.pods, namespace, { labelSelector })
    .catch(() => ({ items: [] }));
  const patch = { metadata: { annotations: { [annotations.filesVersion]: written } } };
  const late = items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  await Promise.allSettled(
    late.map(({ metadata }) => client.mergePatch(resources.pods, namespace, metadata.name, patch)),
  );
}
