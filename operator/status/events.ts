import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { fieldManager, type MacpAuthIssuer } from '../api/names.ts';
import type { ApiClient } from '../cluster/client.ts';
import { type KubeObject, resources } from '../cluster/resources.ts';
import { type Condition, type Judgement, severityOf } from './conditions.ts';

/** Something worth telling about an object. */
export interface ObjectEvent {
  type: 'Normal' | 'Warning';
  /** UpperCamelCase, for programs. */
  reason: string;
  /** For people; at most 1024 characters are kept. */
  note: string;
}

/** Something worth telling about an issuer. */
export type IssuerEvent = ObjectEvent;

/**
 * The Events that a change of conditions is worth: a problem that is new or another than before, and getting Ready.
 * A state that passes by itself is none.
 */
export function transitionEvents(
  judgements: readonly Judgement[],
  previous: readonly Condition[],
  current: readonly Condition[],
): IssuerEvent[] {
  const before = new Map(previous.map((condition) => [condition.type, condition]));
  const problems = judgements
    .filter(
      (judgement) =>
        ['problem', 'warning'].includes(severityOf(judgement)) &&
        before.get(judgement.type)?.reason !== judgement.reason,
    )
    .map(({ reason, message }): IssuerEvent => ({ type: 'Warning', reason, note: message }));
  const ready = current.find(({ type }) => type === 'Ready');
  const becameReady = ready?.status === 'True' && before.get('Ready')?.status !== 'True';
  return becameReady ? [...problems, { type: 'Normal', reason: 'Ready', note: ready.message }] : problems;
}

/** Writes an Event about an issuer. One that cannot be written is logged: the conditions say the same. */
export async function recordEvent(
  client: ApiClient,
  log: Logger,
  issuer: MacpAuthIssuer,
  event: IssuerEvent,
): Promise<void> {
  try {
    await writeEvent(client, issuer, event, randomBytes(8).toString('hex'));
  } catch (error) {
    const { namespace, name } = issuer.metadata;
    log.warn(
      { issuer: `${namespace}/${name}`, event: event.reason, reason: (error as Error).message },
      'an Event was not written',
    );
  }
}

// A name holds 253 characters.
const maxNameLength = 253;

/** Writes an Event about an object; its name is the object's with `suffix`. 409 when that Event was written before. */
export async function writeEvent(
  client: ApiClient,
  object: Pick<KubeObject, 'apiVersion' | 'kind' | 'metadata'>,
  { type, reason, note }: ObjectEvent,
  suffix: string,
): Promise<void> {
  const { apiVersion, kind, metadata } = object;
  const { name, namespace, uid, resourceVersion } = metadata;
  await client.create(resources.events, namespace, {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name: `${name.slice(0, maxNameLength - suffix.length - 1)}.${suffix}`, namespace },
    eventTime: new Date().toISOString().replace('Z', '000Z'),
    reportingController: fieldManager,
    reportingInstance: hostname().slice(0, 128),
    action: 'Reconcile',
    type,
    reason,
    note: note.slice(0, 1024),
    regarding: { apiVersion, kind, name, namespace, uid, resourceVersion },
  });
}
