import type { MacpAuthIssuer } from '../api/names.ts';
import type { KubeObject } from '../cluster/resources.ts';
import { isSpare, type Keyring } from '../plan/keyring.ts';
import type { KeyPolicy } from '../plan/policy.ts';
import { canMintUntil, type RotationState } from '../plan/rotation.ts';
import { abbreviated, type ServerAnswer, servedKeyIDs, strangers } from '../plan/servers.ts';
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
  if (available > 0) {
    // How many is what the Deployment's own status tells: saying it here too would be a write for each of them.
    if (!failure) return { type, reason: 'ServerAvailable', message: 'the JWKS server is ready' };
    const counted = `${available} of ${servers(issuer.spec.server.replicas)} ready`;
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

/**
 * Judges whether what the ready server pods serve is what the keyring says. What was revoked after `expectedBy`
 * (milliseconds since the Unix epoch) they may not know yet.
 */
export function judgePublished(
  keyring: Keyring | undefined,
  served: readonly ServerAnswer[],
  expectedBy: number,
): Judgement {
  const type = 'Published';
  if (!keyring) return { type, reason: 'KeyringNotReady', message: 'waits for the keyring' };
  if (served.length === 0)
    return { type, reason: 'NoServerReady', message: 'no server pod is ready to be asked' };
  const answers = served
    .filter((answer) => 'keys' in answer)
    .map(({ pod, keys }) => ({ pod, kids: servedKeyIDs(keys, keyring) }));
  for (const { pod, kids } of answers) {
    const unknown = strangers(kids, keyring);
    if (unknown.length === 0) continue;
    const message = `server pod ${pod} serves keys that the keyring never had (${abbreviated(unknown)}): find out who wrote them, or delete the server pods if a backup was restored`;
    return { type, reason: 'UnknownKeyServed', message };
  }
  for (const { pod, kids } of answers) {
    const revoked = keyring.revoked.filter(({ kid }) => kids.includes(kid));
    if (revoked.length === 0) continue;
    const still = `server pod ${pod} still serves revoked keys (${abbreviated(revoked.map(({ kid }) => kid))})`;
    return revoked.some(({ revokedAt }) => revokedAt <= expectedBy)
      ? { type, reason: 'RevokedKeyServed', message: `${still}: delete it` }
      : { type, reason: 'ServersUpdating', message: still };
  }
  for (const answer of served) {
    if (!('problem' in answer)) continue;
    const message = `server pod ${answer.pod} gave no JWKS: ${answer.problem}`;
    return { type, reason: 'ServersUnreachable', message };
  }
  const lacking = (spare: boolean) =>
    answers.find(({ kids }) => keyring.keys.some((key) => !kids.includes(key.kid) && isSpare(key) === spare));
  const behind = lacking(false);
  if (behind) {
    return { type, reason: 'ServersBehind', message: `server pod ${behind.pod} does not serve all keys yet` };
  }
  const updating = lacking(true);
  if (updating) {
    return {
      type,
      reason: 'ServersUpdating',
      message: `server pod ${updating.pod} does not serve all spares yet`,
    };
  }
  return {
    type,
    reason: 'AllServersCurrent',
    message: `every ready server pod serves all ${keyring.keys.length} keys`,
  };
}

/** Judges whether namespaces that are not selected any more can still mint, and says until when. */
export function judgeConfined(keyring: Keyring | undefined, policy: KeyPolicy): Judgement {
  const type = 'KeysConfined';
  if (!keyring) return { type, reason: 'KeyringNotReady', message: 'waits for the keyring' };
  const listed = new Set(keyring.namespaces);
  const left = keyring.deselected.filter(({ namespace }) => !listed.has(namespace));
  if (left.length === 0)
    return { type, reason: 'KeysConfined', message: 'no other namespaces than those selected have keys' };
  const names = abbreviated(left.map(({ namespace }) => namespace).toSorted());
  const keyIDs = [...new Set(left.flatMap((one) => one.keyIDs))];
  const end = canMintUntil(keyring, keyIDs, policy);
  const until =
    end === undefined ? 'the keys that it knows are replaced and revoked' : new Date(end).toISOString();
  const message = `no longer selected, but able to mint until ${until}: ${names}`;
  return { type, reason: 'DeselectedNamespaceCanMint', message };
}

/** Judges whether rotations happen when they are due, and says what one that is held up waits for. */
export function judgeRotation(rotation: RotationState | undefined): Judgement {
  const type = 'RotationOnTime';
  if (!rotation) return { type, reason: 'KeyringNotReady', message: 'waits for the keyring' };
  switch (rotation.reason) {
    case 'NotDue':
      return { type, reason: 'NotDue', message: 'no rotation is due' };
    case 'ImportUnderWay':
      return { type, reason: 'ImportUnderWay', message: 'nothing rotates until spec.importKey is removed' };
    case 'SwitchCommitted': {
      const at = new Date(rotation.at).toISOString();
      return { type, reason: 'SwitchCommitted', message: `sidecars switch to key ${rotation.kid} at ${at}` };
    }
    default:
      return { type, reason: rotation.reason, message: rotation.problem };
  }
}
