/** How long a Lease holds, in milliseconds of a candidate's own clock. */
export interface Timing {
  /** How long others wait after they last saw a change of the Lease. Whole seconds, since a Lease says it in seconds. */
  leaseMs: number;
  /** How long a leader works on after its last renewal. */
  renewDeadlineMs: number;
  /** Between two looks at the Lease. */
  retryMs: number;
}

/** Those of Kubernetes' own components. */
export const defaultTiming: Timing = { leaseMs: 15_000, renewDeadlineMs: 10_000, retryMs: 2_000 };

/** Spec of a Lease (coordination.k8s.io/v1), as far as it is about who leads. Times are RFC 3339 with microseconds. */
export interface LeaseSpec {
  /** Empty or absent: nobody. */
  holderIdentity?: string;
  leaseDurationSeconds?: number;
  acquireTime?: string;
  renewTime?: string;
  /** How often it went to another holder. */
  leaseTransitions?: number;
}

/** What a candidate knows. Instants are milliseconds of its own monotonic clock, which no other clock is compared with. */
export interface Standing {
  /** The Lease as it was last there; undefined: none was seen yet. */
  lease: LeaseSpec | undefined;
  /** When it was first seen as it is. */
  seenAt: number;
  /** When the last renewal that succeeded was sent; undefined: it does not lead. */
  renewedAt: number | undefined;
}

/** What a candidate does next. */
export type Decision =
  | { action: 'acquire' | 'renew'; spec: LeaseSpec }
  /** So long until the Lease is free, unless it changes. */
  | { action: 'wait'; ms: number }
  /** A leader ends for good. */
  | { action: 'stop'; reason: string };

/** Who asks, and when: `now` of the monotonic clock, `date` for people who read the Lease. */
export interface Asking {
  identity: string;
  timing: Timing;
  now: number;
  date: Date;
}

/** A candidate that has seen nothing yet. */
export const newcomer: Standing = { lease: undefined, seenAt: 0, renewedAt: undefined };

/** What a candidate knows after it read the Lease. A Lease that is gone says nothing of its holder: the last one stands. */
export function observed(standing: Standing, lease: LeaseSpec | undefined, now: number): Standing {
  if (!lease || JSON.stringify(lease) === JSON.stringify(standing.lease)) return standing;
  return { ...standing, lease, seenAt: now };
}

/**
 * What a candidate knows after a write that it sent at `sentAt` succeeded. One whose answer took so long that its time to
 * work would be over does not come to lead by it.
 */
export function written(
  { renewedAt }: Standing,
  lease: LeaseSpec,
  sentAt: number,
  { timing, now }: Pick<Asking, 'timing' | 'now'>,
): Standing {
  const leads = renewedAt !== undefined || now < sentAt + timing.renewDeadlineMs;
  return { lease, seenAt: now, renewedAt: leads ? sentAt : undefined };
}

/**
 * Until when a leader may work, by its own clock: earlier than any other may take over, since that one begins to count when
 * it sees a renewal, and the leader before it is sent.
 */
export const worksUntil = ({ renewedAt }: Standing, { renewDeadlineMs }: Timing): number =>
  renewedAt === undefined ? Number.NEGATIVE_INFINITY : renewedAt + renewDeadlineMs;

/**
 * What to do, by the rule of Kubernetes' own components: a Lease is free when it names nobody, or when it did not change for
 * as long as it says, counted from when this candidate saw it change. A leader ends as soon as it sees another's name, or
 * could not renew in time.
 */
export function decide(standing: Standing, { identity, timing, now, date }: Asking): Decision {
  const { lease, seenAt, renewedAt } = standing;
  const leads = renewedAt !== undefined;
  const holder = lease?.holderIdentity || undefined;
  if (leads && now >= worksUntil(standing, timing)) {
    return {
      action: 'stop',
      reason: `the Lease could not be renewed for ${timing.renewDeadlineMs / 1000} s`,
    };
  }
  if (leads && holder !== undefined && holder !== identity) {
    return { action: 'stop', reason: `${holder} holds the Lease now` };
  }
  const spec = {
    holderIdentity: identity,
    leaseDurationSeconds: timing.leaseMs / 1000,
    renewTime: microTime(date),
  };
  if (holder === identity) return { action: 'renew', spec: { ...lease, ...spec } };
  const durationMs = (lease?.leaseDurationSeconds ?? timing.leaseMs / 1000) * 1000;
  const left = seenAt + durationMs - now;
  if (holder !== undefined && left > 0) return { action: 'wait', ms: left };
  return {
    action: 'acquire',
    spec: {
      ...lease,
      ...spec,
      acquireTime: microTime(date),
      leaseTransitions: lease ? (lease.leaseTransitions ?? 0) + 1 : 0,
    },
  };
}

/** What a leader leaves behind that goes in good order: free at once, as Kubernetes' own components leave it. */
export function released(lease: LeaseSpec, date: Date): LeaseSpec {
  const time = microTime(date);
  return { ...lease, holderIdentity: '', leaseDurationSeconds: 1, acquireTime: time, renewTime: time };
}

// As MicroTime of the API has it.
const microTime = (date: Date): string => date.toISOString().replace('Z', '000Z');
