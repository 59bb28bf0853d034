import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  decide,
  type LeaseSpec,
  newcomer,
  observed,
  released,
  type Standing,
  defaultTiming as timing,
  worksUntil,
  written,
} from '../../../operator/lead/decide.ts';

/** Steps of true time, in milliseconds. */
const step = 50;
const timeoutMs = timing.renewDeadlineMs / 2;
/** How long everything is well at the end. */
const calmMs = 60_000;

interface Trouble {
  /** Steps after the one before. */
  after: number;
  candidate: number;
  what: 'pause' | 'kill' | 'stop' | 'loseRequests' | 'loseAnswers' | 'delay';
  ms: number;
}

/** The API server: one Lease, and writes that are refused unless they are of what is there. */
class Server {
  lease: LeaseSpec | undefined;
  version = 0;

  write(spec: LeaseSpec, of: number): boolean {
    if (of !== this.version) return false;
    this.lease = spec;
    this.version += 1;
    return true;
  }
}

interface Request {
  sentAt: number;
  arrivesAt: number;
  answersAt: number;
  spec?: LeaseSpec;
  of: number;
  /** Set when it arrived. */
  answer?: { lease: LeaseSpec | undefined; version: number; ok: boolean };
  isLost: boolean;
}

/** One candidate after another in one place: who has ended is followed by a new one, as a pod is. */
class Candidate {
  standing: Standing = newcomer;
  identity: string;
  lives = 0;
  request: Request | undefined;
  own: number | undefined;
  nextLook = 0;
  pausedUntil = 0;
  losesRequestsUntil = 0;
  losesAnswersUntil = 0;
  delaysUntil = 0;
  delayMs = 0;
  /** Requests that nobody waits for any more, but that may still arrive. */
  readonly abandoned: Request[] = [];

  readonly name: string;
  readonly rate: number;
  readonly offset: number;
  readonly latencyMs: number;

  /** `rate` is how fast its clock goes, `offset` what it showed at first: nobody knows either. */
  constructor(
    name: string,
    { rate, offset, latencyMs }: { rate: number; offset: number; latencyMs: number },
  ) {
    this.name = name;
    this.rate = rate;
    this.offset = offset;
    this.latencyMs = latencyMs;
    this.identity = `${name}-0`;
  }

  clock(trueTime: number): number {
    return this.offset + trueTime * this.rate;
  }

  mayWrite(trueTime: number): boolean {
    return this.clock(trueTime) < worksUntil(this.standing, timing);
  }

  restart(trueTime: number): void {
    this.lives += 1;
    this.identity = `${this.name}-${this.lives}`;
    this.standing = newcomer;
    this.own = undefined;
    this.abandon();
    this.nextLook = this.clock(trueTime + 1_000);
  }

  abandon(): void {
    if (this.request) this.abandoned.push(this.request);
    this.request = undefined;
  }

  send(trueTime: number, write?: { spec: LeaseSpec; of: number }): void {
    const delay = trueTime < this.delaysUntil ? this.delayMs : this.latencyMs;
    this.request = {
      sentAt: this.clock(trueTime),
      arrivesAt: trueTime < this.losesRequestsUntil ? Number.POSITIVE_INFINITY : trueTime + delay,
      answersAt: trueTime + 2 * delay,
      isLost: trueTime < this.losesAnswersUntil,
      of: write?.of ?? 0,
      ...(write && { spec: write.spec }),
    };
  }

  /** What the campaign does, on this candidate's clock. */
  act(trueTime: number): void {
    const now = this.clock(trueTime);
    const { request } = this;
    if (request?.answer && !request.isLost && trueTime >= request.answersAt) {
      this.request = undefined;
      this.take(request, request.answer, trueTime);
    } else if (request && now >= request.sentAt + timeoutMs) {
      this.abandon();
      this.own = undefined;
      this.nextLook = now + timing.retryMs;
    } else if (!request && now >= this.nextLook) {
      if (this.own === undefined) this.send(trueTime);
      else this.judge(trueTime, this.own);
    }
    if (this.standing.renewedAt !== undefined && now >= worksUntil(this.standing, timing)) {
      this.restart(trueTime);
    }
  }

  take(request: Request, { lease, version, ok }: NonNullable<Request['answer']>, trueTime: number): void {
    const now = this.clock(trueTime);
    if (!request.spec) {
      this.standing = observed(this.standing, lease, now);
      this.judge(trueTime, version);
      return;
    }
    this.own = ok ? version : undefined;
    if (ok) this.standing = written(this.standing, request.spec, request.sentAt, { timing, now });
    this.nextLook = ok || this.standing.renewedAt === undefined ? now + timing.retryMs : now;
  }

  judge(trueTime: number, version: number): void {
    const now = this.clock(trueTime);
    const decision = decide(this.standing, {
      identity: this.identity,
      timing,
      now,
      date: new Date(Math.round(now)),
    });
    if (decision.action === 'stop') this.restart(trueTime);
    else if (decision.action === 'wait') this.nextLook = now + Math.min(decision.ms, timing.retryMs);
    else this.send(trueTime, { spec: decision.spec, of: version });
  }
}

function arrive(server: Server, request: Request | undefined, trueTime: number): void {
  if (!request || request.answer || trueTime < request.arrivesAt) return;
  const ok = request.spec ? server.write(request.spec, request.of) : true;
  request.answer = { lease: server.lease, version: server.version, ok };
}

function live(candidates: Candidate[], troubles: Trouble[]): { leadersAtEnd: number; terms: Set<string> } {
  const server = new Server();
  const terms = new Set<string>();
  const plan: (Trouble & { at: number })[] = [];
  let at = 0;
  for (const trouble of troubles) {
    at += trouble.after * step;
    plan.push({ ...trouble, at });
  }
  const longest = Math.max(0, ...troubles.map(({ ms }) => ms));
  const end = at + longest + calmMs;
  for (let trueTime = 0; trueTime < end; trueTime += step) {
    for (; plan[0] && plan[0].at <= trueTime; plan.shift()) afflict(plan[0], candidates, server, trueTime);
    for (const candidate of candidates) {
      for (const request of [...candidate.abandoned, candidate.request]) arrive(server, request, trueTime);
    }
    for (const candidate of candidates) {
      if (trueTime >= candidate.pausedUntil) candidate.act(trueTime);
    }
    // Also who is paused may write next, as far as it knows.
    const writers = candidates.filter((candidate) => candidate.mayWrite(trueTime));
    if (writers.length > 1) {
      throw new Error(`${writers.map(({ identity }) => identity).join(' and ')} at ${trueTime} ms`);
    }
    for (const { identity } of writers) terms.add(identity);
  }
  return { leadersAtEnd: candidates.filter((candidate) => candidate.mayWrite(end)).length, terms };
}

function afflict({ candidate, what, ms }: Trouble, all: Candidate[], server: Server, trueTime: number): void {
  const one = all[candidate % all.length] as Candidate;
  const until = trueTime + ms;
  if (what === 'pause') one.pausedUntil = until;
  if (what === 'loseRequests') one.losesRequestsUntil = until;
  if (what === 'loseAnswers') one.losesAnswersUntil = until;
  if (what === 'delay') {
    one.delaysUntil = until;
    one.delayMs = Math.min(ms, timeoutMs);
  }
  if (what === 'stop' && one.mayWrite(trueTime) && one.own !== undefined && one.standing.lease) {
    server.write(released(one.standing.lease, new Date(0)), one.own);
  }
  if (what === 'stop' || what === 'kill') one.restart(trueTime);
}

const soak = Number(process.env.SOAK ?? 1);
const runs = 1_000 * soak;

const trouble = fc.record({
  after: fc.nat({ max: 400 }),
  candidate: fc.nat({ max: 2 }),
  what: fc.constantFrom<Trouble['what'][]>('pause', 'kill', 'stop', 'loseRequests', 'loseAnswers', 'delay'),
  ms: fc.oneof(fc.nat({ max: 3_000 }), fc.nat({ max: 40_000 })),
});
// Fifteen seconds of one clock are never over before ten of another.
const clock = fc.record({
  rate: fc.double({ min: 0.85, max: 1.2, noNaN: true }),
  offset: fc.nat({ max: 1_000_000_000 }),
  // Often so long that a pause falls into a request.
  latencyMs: fc.integer({ min: step, max: 1_500 }),
});

test('never may two write at a time, whatever their clocks say, is lost, late, paused or killed; in the end one leads', () => {
  let terms = 0;
  let lives = 0;
  fc.assert(
    fc.property(
      fc.array(clock, { minLength: 2, maxLength: 3 }),
      fc.array(trouble, { maxLength: 12 }),
      (clocks, troubles) => {
        const candidates = clocks.map((own, i) => new Candidate('abc'.charAt(i), own));
        const outcome = live(candidates, troubles);
        expect(outcome.leadersAtEnd).toBe(1);
        terms += outcome.terms.size;
        lives += 1;
      },
    ),
    { numRuns: runs, interruptAfterTimeLimit: 10_000 * soak },
  );
  // Else nobody ever took over, and it would prove nothing.
  expect(terms).toBeGreaterThan(1.5 * lives);
});

test('with clocks that differ by more than that, two may: the timing is no more careful than it says', () => {
  const slow = new Candidate('slow', { rate: 0.5, offset: 0, latencyMs: step });
  const fast = new Candidate('fast', { rate: 1.2, offset: 0, latencyMs: step });
  fast.nextLook = fast.clock(1_000);
  const cut: Trouble = { after: 100, candidate: 0, what: 'loseRequests', ms: 60_000 };
  expect(() => live([slow, fast], [cut])).toThrow('slow-0 and fast-0');
});
