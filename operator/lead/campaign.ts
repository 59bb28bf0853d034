import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { ApiClient } from '../cluster/client.ts';
import {
  decide,
  newcomer,
  observed,
  released,
  type Standing,
  type Timing,
  worksUntil,
  written,
} from './decide.ts';
import { type Lease, type LeaseName, readLease, writeLease } from './lease.ts';

/** Who campaigns for what, and whom it tells. */
export interface CampaignOptions {
  /** Its requests end well before the renew deadline, and nothing keeps it from writing. */
  client: ApiClient;
  lease: LeaseName;
  /** Of this process and no other, ever. */
  identity: string;
  timing: Timing;
  /** Called once, when it leads. */
  onLeading: () => void;
  /** Called once, when it no longer does without having been asked: it never will again. */
  onLost: (reason: string) => void;
  log: Logger;
}

/** One candidate's way to lead. */
export interface Campaign {
  /** Whether it may write at this moment, by the clock: also a process that was stopped meanwhile gets it right. */
  leads(): boolean;
  /** Whether it ever read the Lease. */
  hasLooked(): boolean;
  /** Ends the campaign, and frees the Lease if it leads. */
  end(): Promise<void>;
}

/** Campaigns until it is ended or has lost what it had. */
export function startCampaign(options: CampaignOptions): Campaign {
  const { client, identity, timing, onLeading, onLost, log } = options;
  const ending = new AbortController();
  const clock = () => performance.now();
  let standing: Standing = newcomer;
  /** What a leader wrote last, so that it need not read it before each renewal. */
  let own: Lease | undefined;
  let looked = false;
  let over = false;
  let holder: string | undefined;
  let problem: string | undefined;
  let deadline: NodeJS.Timeout | undefined;

  // Candidates that began together should not go on asking together.
  const pause = () => timing.retryMs * (0.75 + Math.random() / 4);
  const leads = () => !over && clock() < worksUntil(standing, timing);
  const isLeading = () => standing.renewedAt !== undefined;
  const judge = () => decide(standing, { identity, timing, now: clock(), date: new Date() });

  function lose(reason: string): void {
    if (ending.signal.aborted) return;
    over = true;
    ending.abort();
    onLost(reason);
  }

  // A request that hangs must not keep a leader past its deadline.
  function awaitDeadline(): void {
    clearTimeout(deadline);
    deadline = setTimeout(
      () => {
        const decision = judge();
        if (decision.action === 'stop') lose(decision.reason);
        else awaitDeadline();
      },
      Math.max(1, worksUntil(standing, timing) - clock()),
    );
  }

  async function write(before: Lease | undefined, spec: Lease['spec']): Promise<boolean> {
    const sentAt = clock();
    own = undefined;
    own = await writeLease(client, options.lease, before, spec);
    if (!own) return false;
    const led = isLeading();
    standing = written(standing, own.spec, sentAt, { timing, now: clock() });
    if (!isLeading() || ending.signal.aborted) return true;
    awaitDeadline();
    if (!led) {
      log.info({ identity, transitions: own.spec.leaseTransitions }, 'leading');
      onLeading();
    }
    return true;
  }

  /** One look at the Lease; resolves with milliseconds until the next. */
  async function look(): Promise<number> {
    const found = own ?? (await readLease(client, options.lease));
    looked = true;
    standing = observed(standing, found?.spec, clock());
    const decision = judge();
    if (decision.action === 'stop') {
      lose(decision.reason);
      return 0;
    }
    if (decision.action === 'wait') {
      const { holderIdentity } = standing.lease ?? {};
      if (holderIdentity !== holder) log.info({ identity, holder: holderIdentity }, 'standing by');
      holder = holderIdentity;
      return Math.min(decision.ms, pause());
    }
    if (ending.signal.aborted) return 0;
    // A leader whose Lease another wrote must know soon who holds it.
    return (await write(found, decision.spec)) || !isLeading() ? pause() : timing.retryMs / 10;
  }

  async function run(): Promise<void> {
    while (!ending.signal.aborted) {
      let ms = pause();
      try {
        ms = await look();
        problem = undefined;
      } catch (error) {
        const { message } = error as Error;
        if (message !== problem)
          log.warn({ reason: message }, 'the Lease was not read or written; trying again');
        problem = message;
      }
      await sleep(ms, undefined, { signal: ending.signal }).catch(() => {});
    }
  }

  const running = run();
  return {
    leads,
    hasLooked: () => looked,
    async end() {
      ending.abort();
      await running;
      clearTimeout(deadline);
      const led = leads();
      over = true;
      if (!led) return;
      try {
        const before = own ?? (await readLease(client, options.lease));
        if (before?.spec.holderIdentity !== identity) return;
        const freed = await writeLease(client, options.lease, before, released(before.spec, new Date()));
        if (freed) log.info({ identity }, 'the Lease is free');
      } catch (error) {
        log.warn({ reason: (error as Error).message }, 'the Lease was not freed; it runs out by itself');
      }
    },
  };
}
