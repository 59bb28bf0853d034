import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { fieldsOf } from '../api/fields.ts';
import { crdName } from '../api/names.ts';
import { fields } from '../api/v1alpha1.ts';
import { type ApiClient, briefly, type OpenAPI } from '../cluster/client.ts';
import { resources } from '../cluster/resources.ts';

const lookMs = 10_000;

/** The fields of this release's CRD that the API server's OpenAPI document of the group does not have. */
function missingFields({ components }: OpenAPI): string[] {
  const { kind } = resources.issuers;
  const served = Object.values(components?.schemas ?? {}).find((schema) =>
    schema['x-kubernetes-group-version-kind']?.some((one) => one.kind === kind),
  );
  const known = new Set(fieldsOf(served ?? {}));
  return fields.filter((field) => !known.has(field));
}

/**
 * Says in the log when the cluster's CRD is older than this operator, with the fields that it lacks, and looks again until
 * it is not: what an older CRD does not know is dropped from a spec in silence, and refused in a status. A CRD that is not
 * there at all is told by who follows issuers. The document is what every authenticated user may read.
 */
export async function tellOldCRD({
  client,
  log,
  signal,
}: {
  client: ApiClient;
  log: Logger;
  signal: AbortSignal;
}): Promise<void> {
  let told = '';
  while (!signal.aborted) {
    try {
      const missing = missingFields(await client.openAPI(resources.issuers.apiVersion, signal));
      if (missing.length === 0) {
        if (told !== '') log.info('the CRD has all fields that this operator knows');
        return;
      }
      if (told !== missing.join())
        log.error(
          { crd: crdName, missing },
          "the CRD is older than this operator: apply this release's (kubectl apply -f crds/)",
        );
      told = missing.join();
    } catch (error) {
      log.debug({ reason: briefly(error) }, 'the version of the CRD could not be read');
    }
    await sleep(lookMs, undefined, { signal }).catch(() => {});
  }
}
