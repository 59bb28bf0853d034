import { isWrite, readAuditLog } from '../controlplane/audit.ts';
import { operatorUser } from '../integration/support.ts';
import { release } from '../support/helm.ts';
import type { Place } from './place.ts';

/**
 * Returns what tells in words all that was written so far in a place and the operator's namespace by anybody, but for the
 * operator's Lease. On the tests' own node these are the requests in the audit log, those of the operator elsewhere
 * too. On a cluster that was given it is what has another resourceVersion than at the look before, is new, or is gone;
 * the first look counts all that is there.
 */
export function writesOf(place: Place): () => Promise<string[]> {
  const { node } = place.cluster;
  return node ? () => requests(place, node.auditLogPath) : changes(place);
}

async function requests({ namespace }: Place, auditLogPath: string): Promise<string[]> {
  const events = await readAuditLog(
    auditLogPath,
    (event) =>
      isWrite(event) &&
      (event.objectRef?.namespace === namespace ||
        (event.objectRef?.resource !== 'leases' &&
          (event.objectRef?.namespace === release.namespace || event.user.username === operatorUser))),
  );
  return events.map(
    ({ user, verb, objectRef }) =>
      `${user.username}: ${verb} ${objectRef?.resource} ${objectRef?.name ?? ''}`,
  );
}

function changes(place: Place): () => Promise<string[]> {
  const written: string[] = [];
  let before = new Map<string, string>();
  return async () => {
    const now = await versions(place);
    for (const [object, version] of now) {
      if (before.get(object) !== version) written.push(`${object} is at ${version}`);
    }
    for (const object of before.keys()) {
      // An Event goes by itself, after an hour as a rule.
      if (!now.has(object) && !object.includes(' Event ')) written.push(`${object} is gone`);
    }
    before = now;
    return [...written];
  };
}

/** The resourceVersion of each object of the two namespaces, and of these. */
async function versions({ cluster: { kubectl }, namespace }: Place): Promise<Map<string, string>> {
  const namespaces = [namespace, release.namespace];
  // What nobody can watch is not stored, but measured at each look, as metrics are.
  const kinds = await kubectl.run(['api-resources', '--namespaced', '--verbs=list,watch', '-o', 'name']);
  const looks = [
    ['namespaces', ...namespaces],
    ...namespaces.map((where) => [kinds.split('\n').join(','), '-n', where]),
  ];
  const members = ['apiVersion', 'kind', 'metadata.namespace', 'metadata.name', 'metadata.resourceVersion'];
  const template = `{range .items[*]}${members.map((member) => `{.${member}}`).join(' ')}{"\\n"}{end}`;
  const found = await Promise.all(
    looks.map((look) => kubectl.run(['get', ...look, '-o', `jsonpath=${template}`])),
  );
  const objects = found
    .join('\n')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, kind, where]) => kind && !(kind === 'Lease' && where === release.namespace));
  return new Map(objects.map((words) => [words.slice(0, -1).join(' '), words.at(-1) as string]));
}
