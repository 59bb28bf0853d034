import type { MacpAuthIssuer } from '../api/names.ts';
import type { KubeObject } from '../cluster/resources.ts';
import type { ServedKeys } from '../observe/probe.ts';
import type { Keyring } from '../plan/keyring.ts';
import type { Judgement } from './conditions.ts';

interface ContainerStatus {
  name: string;
  state?: {
    waiting?: { reason?: string; message?: string };
    terminated?: { exitCode?: number; message?: string };
  };
  lastState?: { terminated?: { exitCode?: number; message?: string } };
}

interface PodCondition {
  type: string;
  reason?: string;
  message?: string;
}

interface DeploymentStatus {
  conditions?: { type: string; status: string; reason?: string; message?: string }[];
}

const servers = (count: number): string => (count === 1 ? '1 server pod' : `${count} server pods`);

/** Whether a pod is Ready and not on its way out. */
export function isReady(pod: KubeObject): boolean {
  const conditions = (pod.status as { conditions?: { type: string; status: string }[] } | undefined)
    ?.conditions;
  return (
    pod.metadata.deletionTimestamp === undefined &&
    (conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false)
  );
}

/**
 * Judges the JWKS server by its pods, as they are asked for their keys too, and says of a server that cannot start why.
 */
export function judgeServer(
  issuer: MacpAuthIssuer,
  deployment: KubeObject | undefined,
  pods: readonly KubeObject[],
): Judgement {
  const type = 'ServerAvailable';
  const status = deployment?.status as DeploymentStatus | undefined;
  const available = pods.filter(isReady).length;
  const waiting = pods
    .filter((pod) => !isReady(pod))
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const failure = waiting.map(podFailure).find((problem) => problem !== undefined) ?? replicaFailure(status);
  const counted = `${available} of ${servers(issuer.spec.server.replicas)} ready`;
  if (available > 0) {
    if (!failure) return { type, reason: 'ServerAvailable', message: counted };
    return { type, reason: 'RolloutStuck', message: `${counted}, but others cannot start: ${failure}` };
  }
  if (failure) return { type, reason: 'ServerFailing', message: `no server pod is ready: ${failure}` };
  return { type, reason: 'ServerStarting', message: 'no server pod is ready yet' };
}

const passing = ['ContainerCreating', 'PodInitializing'];

// Kubelet's own messages carry back-off times that change: only what stays is said.
function podFailure(pod: KubeObject): string | undefined {
  if (pod.metadata.deletionTimestamp !== undefined) return undefined;
  const { conditions = [] } = (pod.status ?? {}) as { conditions?: PodCondition[] };
  const unscheduled = conditions.find(
    ({ type, reason }) => type === 'PodScheduled' && reason === 'Unschedulable',
  );
  if (unscheduled) return `Unschedulable: ${unscheduled.message ?? 'no node fits'}`;
  const statuses =
    (pod.status as { containerStatuses?: ContainerStatus[] } | undefined)?.containerStatuses ?? [];
  for (const { state, lastState } of statuses) {
    const reason = state?.waiting?.reason;
    if (!reason || passing.includes(reason)) continue;
    const ended = lastState?.terminated;
    if (ended) {
      const lastLine = ended.message?.trim().split('\n').at(-1);
      return `${reason}: exit code ${ended.exitCode}${lastLine ? `: ${lastLine.slice(0, 300)}` : ''}`;
    }
    return `${reason}: see kubectl describe of the server pods`;
  }
  return undefined;
}

const replicaFailure = (status: DeploymentStatus | undefined): string | undefined =>
  status?.conditions?.find((condition) => condition.type === 'ReplicaFailure' && condition.status === 'True')
    ?.message;

// What a stranger wrote must not fill status.
function abbreviated(kids: readonly string[]): string {
  const shown = kids.slice(0, 3).map((kid) => kid.slice(0, 64));
  return kids.length > shown.length
    ? `${shown.join(', ')} and ${kids.length - shown.length} more`
    : shown.join(', ');
}

/** Judges whether what the ready server pods serve is what the keyring says. */
export function judgePublished(keyring: Keyring | undefined, served: readonly ServedKeys[]): Judgement {
  const type = 'Published';
  if (!keyring) return { type, reason: 'KeyringNotReady', message: 'waits for the keyring' };
  if (served.length === 0)
    return { type, reason: 'NoServerReady', message: 'no server pod is ready to be asked' };
  const known = new Set([...keyring.keys.map(({ kid }) => kid), ...keyring.removedKeyIDs]);
  const answers = served.filter((answer) => 'kids' in answer);
  for (const { pod, kids } of answers) {
    const strangers = kids.filter((kid) => !known.has(kid));
    if (strangers.length === 0) continue;
    const message = `server pod ${pod} serves keys that the keyring never had (${abbreviated(strangers)}): find out who wrote them`;
    return { type, reason: 'UnknownKeyServed', message };
  }
  for (const answer of served) {
    if (!('problem' in answer)) continue;
    const message = `server pod ${answer.pod} gave no JWKS: ${answer.problem}`;
    return { type, reason: 'ServersUnreachable', message };
  }
  const behind = answers.find(({ kids }) => keyring.keys.some(({ kid }) => !kids.includes(kid)));
  if (behind) {
    return { type, reason: 'ServersBehind', message: `server pod ${behind.pod} does not serve all keys yet` };
  }
  return {
    type,
    reason: 'AllServersCurrent',
    message: `every ready server pod serves all ${keyring.keys.length} keys`,
  };
}
