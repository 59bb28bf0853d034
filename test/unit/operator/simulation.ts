import { isDeepStrictEqual } from 'node:util';
import { agentSecret, readDistributed } from '../../../operator/build/files.ts';
import type { AgentNamespaces } from '../../../operator/plan/agents.ts';
import {
  activeKey,
  committedKey,
  type Keyring,
  type NewKey,
  publicKeys,
  spareKeys,
  uniteByKid,
} from '../../../operator/plan/keyring.ts';
import { type ObservedKeyring, type Plan, plan } from '../../../operator/plan/planner.ts';
import { type KeyPolicy, maxPublishedKeys, spareCount } from '../../../operator/plan/policy.ts';
import type { Traces } from '../../../operator/plan/recovery.ts';
import { dueAt } from '../../../operator/plan/rotation.ts';
import type { ServerObservation } from '../../../operator/plan/servers.ts';
import type { Algorithm, PublicJWK } from '../../../sidecar/contract/jwk.ts';
import { signerAt } from '../../../sidecar/contract/signer.ts';
import {
  absent,
  day,
  defaultSpec,
  frozen,
  hour,
  issuerOf,
  minute,
  planned,
  policyOf,
  present,
  second,
  t0,
} from './builders.ts';

/** How far a look of the operator gets before it is killed. */
export const stages = ['plan', 'keyring', 'configMap', 'agentSecret', 'elsewhere', 'status'] as const;
export type Stage = (typeof stages)[number];

/** Whom a revocation is about. */
export const victims = ['active', 'next', 'committed', 'previous', 'retired', 'all', 'allSigning'] as const;

export type Step =
  | { do: 'advance'; ms: number }
  | { do: 'set'; policy: Partial<KeyPolicy> }
  | { do: 'revoke'; whom: (typeof victims)[number] }
  | { do: 'clearRevocations' | 'operatorDown' | 'operatorUp' }
  | { do: 'failover'; offset: number }
  | { do: 'kill'; after: Stage }
  | { do: 'block'; stage: Blocked }
  | { do: 'select' | 'deselect' | 'loseElsewhere' }
  | { do: 'freezeSidecar' | 'thawSidecar' | 'restartSidecar'; which: number }
  | { do: 'freezeServer' | 'thawServer' | 'serverDown' | 'serverUp' | 'silence' | 'speak'; which: number }
  | { do: 'deleteKeyring' | 'damageKeyring' | 'mendKeyring' | 'consent' }
  | { do: 'restoreKeyring'; age: number }
  | { do: 'clocksDiffer' | 'clocksAgree' };

type Blocked = 'configMap' | 'agentSecret' | 'elsewhere' | undefined;

interface SidecarKey {
  kid: string;
  activateAt: number;
  signUntil: number;
  warnFrom: number;
}

interface Files {
  keys: [SidecarKey, ...SidecarKey[]];
  maxTTLMs: number;
  revision: number;
}

/** Something that mounts what the operator writes: its copy comes `delay` of `propagation` late. */
interface Holder<Version> {
  delay: number;
  frozen: boolean;
  /** When kubelet will look next. */
  looks: number[];
  copy: Version | undefined;
}

type Sidecar = Holder<Files> & {
  offset: number;
  goodSince?: number;
  /** Whether it is in the namespace that is selected at times, not in the issuer's own. */
  elsewhere: boolean;
  /** Whether its files come when they should. */
  follows: boolean;
};
type AgentSecret = { distributed: Traces['distributed']; files: Files };
type Server = Holder<{ kids: string[]; revision: number }> & { ready: boolean; silent: boolean };

// Jest's own expect would take most of the time.
function must(holds: boolean, ...what: unknown[]): void {
  if (!holds)
    throw new Error(what.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join(' '));
}
const mustEqual = (a: unknown, b: unknown, what: string): void =>
  must(isDeepStrictEqual(a, b), what, a, 'is not', b);

const leeway = minute;
const staleGrace = hour;

/**
 * An issuer with all that its keys depend on. Verifiers are not modelled one by one: at any instant one may hold the
 * JWKS of any ready server pod at any instant within its cache time (and that of the HTTP cache before it), or, while
 * none is ready, the one that it had. So what is checked is that none of those sets lacks a key with a live token.
 */
export class Simulation {
  now = t0;
  policy: KeyPolicy;
  keyring: ObservedKeyring = absent;
  readonly sidecars: Sidecar[];
  readonly servers: Server[];
  /** How often a key took over. */
  switches = 0;
  /** How many keys were revoked that no spec named, but a deselected namespace knew. */
  revocations = 0;

  private readonly clocksHold: boolean;
  /** A cache before the servers, which takes what is served as late as a pod may. */
  private readonly external: Server | undefined;
  /** Whether a server's clock differs from the operator's by more than it may. */
  private clocksDiffer = false;
  private operatorOffset = 0;
  private up = true;
  private killAfter: Stage | undefined;
  private blocked: Blocked;
  private wakeAt = Number.NEGATIVE_INFINITY;
  private isHeld = false;
  /** Since when the operator is there, can write, and has a keyring. */
  private goodSince = t0;
  private copies: Keyring[] = [];
  private configMap: { keys: PublicJWK[]; revision: number } | undefined;
  private agentSecret: AgentSecret | undefined;
  /** The agent Secret in another namespace, and whether that is selected. */
  private elsewhere: AgentSecret | undefined;
  private selected = true;
  private status: Omit<Traces, 'published' | 'distributed' | 'holders'> | undefined;
  private made = 0;

  /** The last instant at which a ready server pod lacked a key. */
  private readonly lackedAt = new Map<string, number>();
  /** Until when a token may be accepted, by the latest that any sidecar has signed. */
  private readonly liveUntil = new Map<string, number>();
  /** The same for the sidecars whose files come in time, in namespaces that are selected. */
  private readonly followedUntil = new Map<string, number>();
  private readonly revoked = new Set<string>();
  /** Keys that had to take over before they were ripe, and from when they are good. */
  private readonly unripe = new Map<string, { from: number; excused: boolean }>();
  private noneReadySince: number | undefined = t0;
  private cacheTimes: { since: number; before: number };
  private consents = 0;

  /**
   * `drift`: by how much more than the policy says the clocks of sidecars differ. Beyond 1, tokens may be refused.
   * `isExternal`: one of the servers is an external URL, which can always be reached.
   */
  constructor(policy: Partial<KeyPolicy> = {}, drift = 1, isExternal = false) {
    this.policy = policyOf(policy);
    this.clocksHold = drift <= 1;
    this.cacheTimes = { since: Number.NEGATIVE_INFINITY, before: this.cacheTime() };
    this.sidecars = [
      { offset: -0.5, delay: 0, elsewhere: false },
      { offset: -0.5, delay: 1, elsewhere: true },
      { offset: 0.5, delay: 0, elsewhere: true },
      { offset: 0.5, delay: 1, elsewhere: false },
    ].map((one) => ({
      ...one,
      offset: one.offset * drift,
      frozen: false,
      looks: [],
      copy: undefined,
      follows: true,
    }));
    this.servers = [0, 0.5, 1].map((delay) => ({
      delay,
      frozen: false,
      looks: [],
      copy: undefined,
      ready: false,
      silent: false,
    }));
    this.external = isExternal ? this.servers.at(-1) : undefined;
    this.look();
    for (const server of this.servers) server.copy = this.served();
    for (const server of this.servers) server.ready = true;
    this.noneReadySince = undefined;
    for (const sidecar of this.sidecars) sidecar.copy = this.filesFor(sidecar);
    this.look();
  }

  happen(step: Step): void {
    switch (step.do) {
      case 'advance':
        this.advance(step.ms);
        return;
      case 'set':
        this.set(step.policy);
        break;
      case 'revoke':
        this.revoke(step.whom);
        break;
      case 'clearRevocations':
        this.policy = { ...this.policy, revokedKeyIDs: [] };
        break;
      case 'operatorDown':
        this.up = false;
        return;
      case 'operatorUp':
        this.up = true;
        break;
      case 'clocksDiffer':
      case 'clocksAgree':
        this.clocksDiffer = step.do === 'clocksDiffer';
        break;
      case 'failover':
        this.operatorOffset = step.offset;
        break;
      case 'kill':
        this.killAfter = step.after;
        break;
      case 'block':
        this.blocked = step.stage;
        break;
      case 'select':
        this.select();
        break;
      case 'deselect':
        this.selected = false;
        break;
      case 'loseElsewhere':
        this.elsewhere = undefined;
        break;
      case 'deleteKeyring':
        this.keyring = absent;
        break;
      case 'damageKeyring':
        this.keyring = { state: 'unreadable', problem: 'it is damaged' };
        break;
      case 'mendKeyring': {
        const newest = this.copies.at(-1);
        if (this.keyring.state === 'unreadable' && newest) this.keyring = present(newest);
        break;
      }
      case 'restoreKeyring': {
        const copy = this.copies.at(-1 - (step.age % Math.max(1, this.copies.length)));
        if (copy) this.keyring = present(copy);
        break;
      }
      case 'consent':
        this.policy = { ...this.policy, rotateNow: `consent-${++this.consents}` };
        break;
      case 'freezeSidecar':
      case 'thawSidecar':
      case 'restartSidecar':
        this.changeSidecar(step.do, this.sidecars[step.which % this.sidecars.length] as Sidecar);
        break;
      default:
        this.changeServer(step.do, this.servers[step.which % this.servers.length] as Server);
    }
    this.check();
    this.look();
    this.check();
  }

  /** All well again, for as long as every wish of the spec needs; then nothing may be left to do. */
  calm(): void {
    for (const which of this.servers.keys()) {
      for (const what of ['thawServer', 'serverUp', 'speak'] as const) this.happen({ do: what, which });
    }
    for (const which of this.sidecars.keys()) this.happen({ do: 'thawSidecar', which });
    this.happen({ do: 'block', stage: undefined });
    this.happen({ do: 'clocksAgree' });
    this.happen({ do: 'mendKeyring' });
    this.happen({ do: 'select' });
    this.happen({ do: 'consent' });
    this.happen({ do: 'operatorUp' });
    this.look();
    const { propagationMs, clockSkewMs } = this.policy;
    if (!this.clocksHold) {
      // What was noted by a clock that went ahead is waited for.
      this.happen({ do: 'failover', offset: 0 });
      this.advance(250 * clockSkewMs);
    }
    const rotation = 2 * propagationMs + 4 * clockSkewMs + this.cacheTime() + second;
    for (let round = 0; round < 2 && this.policy.intervalMs > rotation; round++) this.advance(rotation);
    if (this.policy.intervalMs <= 4 * rotation) return;
    const keyring = this.current();
    const active = activeKey(keyring, this.operatorNow());
    if (!active) throw new Error('no key signs');
    // Then every rotation waits, and says so.
    if (keyring.keys.length >= maxPublishedKeys - 1) return;
    mustEqual(active.algorithm, this.policy.algorithm, 'the algorithm');
    mustEqual(keyring.handledRotateNow, this.policy.rotateNow, 'rotateNow');
    must(dueAt(active, this.policy) > this.operatorNow() - rotation, 'a rotation is overdue');
    for (const sidecar of this.clocksHold ? this.sidecars : []) {
      const choice = this.signer(sidecar, this.now);
      mustEqual(choice?.key.kid, active.kid, 'the key of a sidecar');
      must(choice?.state !== 'ended', 'a sidecar has stopped to mint');
    }
  }

  private current(): Keyring {
    if (this.keyring.state !== 'present') throw new Error('there is no keyring');
    return this.keyring.keyring;
  }

  private operatorNow(): number {
    return Math.round(this.now + this.operatorOffset * this.policy.clockSkewMs);
  }

  private cacheTime(): number {
    return this.policy.verifierCacheTTLMs + this.policy.maxAgeMs;
  }

  // Who lowers it has restarted the verifiers before; who raises it restarts them any time later.
  private set(change: Partial<KeyPolicy>): void {
    const before = this.cacheTime();
    const { graceMs = this.policy.graceMs, intervalMs = this.policy.intervalMs } = change;
    this.policy = { ...this.policy, ...change, graceMs: Math.min(graceMs, 16 * intervalMs) };
    if (change.verifierCacheTTLMs !== undefined) {
      const maxAgeMs = Math.min(60, Math.floor(change.verifierCacheTTLMs / 10_000)) * second;
      this.policy = { ...this.policy, maxAgeMs };
      const { cacheTimes } = this;
      if (this.cacheTime() > before) this.cacheTimes = { since: this.now, before };
      else this.cacheTimes = { ...cacheTimes, before: Math.min(cacheTimes.before, this.cacheTime()) };
    }
  }

  private revoke(whom: (typeof victims)[number]): void {
    if (this.keyring.state !== 'present') {
      const [kid] = whom === 'active' ? (this.agentSecret?.files.keys ?? []).map((key) => key.kid) : [];
      if (kid !== undefined) this.revokeByName([kid]);
      return;
    }
    const now = this.operatorNow();
    const keyring = this.current();
    const active = activeKey(keyring, now);
    const committed = committedKey(keyring, now);
    const signed = keyring.keys.filter((key) => key.activateAt !== undefined && key.kid !== active?.kid);
    const previous = signed.filter(({ activateAt }) => (activateAt ?? 0) <= now);
    const chosen = {
      active: [active],
      next: spareKeys(keyring).slice(0, 1),
      committed: [committed],
      previous: previous.slice(-1),
      retired: previous.slice(0, 1),
      all: keyring.keys,
      allSigning: [active, committed, ...previous],
    }[whom];
    this.revokeByName(chosen.flatMap((key) => (key ? [key.kid] : [])));
  }

  private revokeByName(kids: readonly string[]): void {
    this.policy = {
      ...this.policy,
      revokedKeyIDs: [...new Set([...this.policy.revokedKeyIDs, ...kids])],
    };
  }

  // Pods there go on with the files they have until the Secret is there again.
  private select(): void {
    if (this.selected) return;
    this.selected = true;
    for (const sidecar of this.sidecars.filter(({ elsewhere }) => elsewhere)) {
      const kid = this.signer(sidecar, this.now)?.key.kid;
      if (kid !== undefined && this.revoked.has(kid)) sidecar.follows = false;
    }
  }

  private filesFor({ elsewhere }: Sidecar): Files | undefined {
    return (elsewhere ? this.elsewhere : this.agentSecret)?.files;
  }

  private isServed({ elsewhere }: Sidecar): boolean {
    return !elsewhere || this.selected;
  }

  private changeSidecar(what: 'freezeSidecar' | 'thawSidecar' | 'restartSidecar', sidecar: Sidecar): void {
    sidecar.frozen = what === 'freezeSidecar';
    if (what === 'freezeSidecar') sidecar.follows = false;
    if (what === 'restartSidecar') {
      // Without its Secret a new pod does not start.
      if (!this.filesFor(sidecar)) return;
      sidecar.copy = this.filesFor(sidecar);
      sidecar.looks = [];
      sidecar.follows = true;
    } else if (what === 'thawSidecar')
      sidecar.looks.push(this.now + sidecar.delay * this.policy.propagationMs);
  }

  private changeServer(what: Step['do'], server: Server): void {
    if (server === this.external && (what === 'silence' || what === 'serverDown')) return;
    if (what === 'freezeServer') server.frozen = true;
    if (what === 'silence') server.silent = true;
    if (what === 'speak') server.silent = false;
    if (what === 'serverDown') server.ready = false;
    if (what === 'thawServer') {
      server.frozen = false;
      server.looks.push(this.now + server.delay * this.policy.propagationMs);
    }
    if (what === 'serverUp' && !server.ready) {
      // A new pod, which starts with what is there.
      server.ready = true;
      server.copy = this.served();
      server.looks = [];
    }
    const noneReady = this.servers.every(({ ready }) => !ready);
    this.noneReadySince = noneReady ? (this.noneReadySince ?? this.now) : undefined;
  }

  private served() {
    const { keys, revision } = this.configMap ?? { keys: [], revision: 0 };
    return { kids: keys.map(({ kid }) => kid), revision };
  }

  private advance(ms: number): void {
    const end = this.now + ms;
    for (let guard = 0; this.now < end; guard++) {
      // With the shortest grace, signUntil is moved every few seconds for as long as a rotation is held up.
      if (guard > 20_000 + ms / second) throw new Error('it never comes to rest');
      const events = [end, ...this.events()].filter((at) => at > this.now);
      this.pass(Math.min(...events));
      this.takeFiles();
      this.check();
      this.look();
      this.check();
    }
  }

  private events(): number[] {
    const wake = this.up ? [this.wakeAt - Math.round(this.operatorOffset * this.policy.clockSkewMs)] : [];
    const looks = [...this.sidecars, ...this.servers].flatMap((holder) =>
      holder.frozen ? [] : holder.looks,
    );
    const turns = this.sidecars.flatMap(({ copy, offset }) =>
      (copy?.keys ?? []).flatMap(({ activateAt, signUntil }) =>
        [activateAt, signUntil].map((at) => at - offset * this.policy.clockSkewMs),
      ),
    );
    return [...wake, ...looks, ...turns].map(Math.ceil);
  }

  // What was true until now was so for the whole time.
  private pass(until: number): void {
    for (const sidecar of this.sidecars) {
      const choice = this.signer(sidecar, this.now);
      if (!choice || choice.state === 'ended') continue;
      const { clockSkewMs } = this.policy;
      const exp = until + sidecar.offset * clockSkewMs + (sidecar.copy as Files).maxTTLMs;
      const accepted = exp + leeway + clockSkewMs / 2;
      // What a namespace mints that is not selected any more is not to be accepted for long.
      if (!this.isServed(sidecar)) continue;
      this.liveUntil.set(choice.key.kid, Math.max(accepted, this.liveUntil.get(choice.key.kid) ?? 0));
      if (!sidecar.follows) continue;
      this.followedUntil.set(choice.key.kid, Math.max(accepted, this.followedUntil.get(choice.key.kid) ?? 0));
    }
    for (const kid of this.lacking()) this.lackedAt.set(kid, until);
    this.now = until;
  }

  private lacking(more: readonly string[] = []): string[] {
    const ready = this.servers.filter((server) => server.ready);
    const all = new Set([
      ...more,
      ...this.liveUntil.keys(),
      ...(this.keyring.state === 'present' ? this.keyring.keyring.keys.map(({ kid }) => kid) : []),
    ]);
    return [...all].filter((kid) => ready.some(({ copy }) => !copy?.kids.includes(kid)));
  }

  private takeFiles(): void {
    const take = <V extends { revision: number }>(holder: Holder<V>, version: V | undefined) => {
      if (holder.frozen || !holder.looks.some((at) => at <= this.now)) return;
      holder.looks = holder.looks.filter((at) => at > this.now);
      if (version && version.revision >= (holder.copy?.revision ?? 0)) holder.copy = version;
    };
    for (const sidecar of this.sidecars) {
      const isDue = !sidecar.frozen && sidecar.looks.some((at) => at <= this.now);
      take(sidecar, this.filesFor(sidecar));
      if (isDue && this.filesFor(sidecar)) sidecar.follows = true;
    }
    for (const server of this.servers) take(server, this.configMap && this.served());
  }

  private signer({ copy, offset }: Sidecar, at: number) {
    return copy && signerAt(copy.keys, at + offset * this.policy.clockSkewMs);
  }

  /** The earliest instant whose JWKS a verifier may still go by; undefined where some have none left. */
  private oldestFetch(): number | undefined {
    const { since, before } = this.cacheTimes;
    const oldest = Math.max(this.now - this.cacheTime(), Math.min(since, this.now - before));
    if (since === Number.NEGATIVE_INFINITY) return this.withStale(this.now - this.cacheTime());
    return this.withStale(oldest);
  }

  private withStale(oldest: number): number | undefined {
    if (this.noneReadySince === undefined) return oldest;
    if (this.now - this.noneReadySince > staleGrace) return undefined;
    return Math.min(oldest, this.noneReadySince - this.cacheTime());
  }

  // Every token that is alive is accepted by every verifier.
  private check(): void {
    for (const { copy } of this.servers) must(copy?.kids.length !== 0, 'a server serves an empty JWKS');
    for (const sidecar of this.sidecars)
      must(this.signer(sidecar, this.now) !== undefined, 'a sidecar has no key');
    if (!this.clocksHold) return;
    this.checkMinting();
    // Who is not there corrects nothing.
    for (const unripe of this.unripe.values()) unripe.excused ||= !this.up || this.killAfter !== undefined;
    const oldest = this.oldestFetch();
    const signing = this.sidecars.flatMap((sidecar) => {
      if (!this.isServed(sidecar)) return [];
      const choice = this.signer(sidecar, this.now);
      return choice && choice.state !== 'ended' ? [choice.key.kid] : [];
    });
    const lacking = new Set(this.lacking(signing));
    const alive = [...this.liveUntil].filter(([, until]) => until > this.now).map(([kid]) => kid);
    for (const kid of new Set([...signing, ...alive])) {
      if (this.revoked.has(kid)) continue;
      if (oldest === undefined) continue;
      const isKnown = !lacking.has(kid) && (this.lackedAt.get(kid) ?? Number.NEGATIVE_INFINITY) <= oldest;
      const unripe = this.unripe.get(kid);
      if (isKnown) {
        this.unripe.delete(kid);
        continue;
      }
      if (unripe && (unripe.excused || this.now < unripe.from)) continue;
      const since = this.lackedAt.get(kid);
      throw new Error(
        `a verifier may refuse a live token of ${kid} at ${this.now - t0}: ` +
          (lacking.has(kid) ? 'a server pod lacks it' : `a server pod lacked it until ${(since ?? 0) - t0}`) +
          `, ${signing.includes(kid) ? 'it signs' : `its tokens live until ${(this.liveUntil.get(kid) ?? 0) - t0}`}`,
      );
    }
  }

  // A sidecar whose files follow never stops to mint while the operator is there and can write.
  private checkMinting(): void {
    const { propagationMs, clockSkewMs } = this.policy;
    const isHindered = this.isHeld || !this.up || this.blocked !== undefined || this.killAfter !== undefined;
    if (isHindered) this.goodSince = this.now;
    for (const sidecar of this.sidecars) {
      if (sidecar.frozen || !this.isServed(sidecar)) sidecar.goodSince = this.now;
      const since = Math.max(this.goodSince, sidecar.goodSince ?? t0);
      if (this.now <= since + propagationMs + 2 * clockSkewMs + second) continue;
      must(this.signer(sidecar, this.now)?.state !== 'ended', 'a sidecar that follows has stopped to mint');
    }
  }

  private observation(): ServerObservation {
    const ready = this.servers.filter((server) => server.ready && server !== this.external);
    const external = this.external?.ready ? (this.external.copy?.kids ?? []) : undefined;
    const answers = ready.filter((server) => !server.silent).map(({ copy }) => copy?.kids ?? []);
    const clockDifferenceMs = this.policy.clockSkewMs + (this.clocksDiffer ? 1 : 0);
    const silent = ready.length - answers.length;
    return { answers, silent, clockDifferenceMs, ...(external && { external }) };
  }

  private traces(): Traces {
    return {
      statusKeyIDs: [],
      revoked: [],
      statusSignUntil: 0,
      handledRotateNow: undefined,
      observedRotateNow: undefined,
      ...this.status,
      revision: Math.max(
        this.status?.revision ?? 0,
        this.configMap?.revision ?? 0,
        this.agentSecret?.files.revision ?? 0,
      ),
      published: this.configMap?.keys ?? [],
      distributed: uniteByKid(
        this.agentSecret?.distributed ?? [],
        this.keyring.state === 'present' ? [] : (this.elsewhere?.distributed ?? []),
      ),
      holders: this.elsewhere ? ['elsewhere'] : [],
    };
  }

  private agents(): AgentNamespaces {
    const [selected, unselected] = this.selected ? [['elsewhere'], []] : [[], ['elsewhere']];
    const keys = this.elsewhere?.distributed;
    const held = keys ? [{ namespace: 'elsewhere', keys }] : [];
    return { selected, unselected, unknown: [], held, unseen: [] };
  }

  private fresh(count: number, algorithm: Algorithm): NewKey[] {
    return Array.from({ length: count }, (_, index) => {
      const kid = `k${this.made + index + 1}`;
      const point = { kty: 'EC', crv: 'P-256', x: kid, y: kid } as const;
      return {
        kid,
        publicKey: { ...point, kid, alg: algorithm, use: 'sig' },
        privateKey: { ...point, d: `private-${kid}` },
      };
    });
  }

  /** One reconcile of the operator. */
  private look(): void {
    if (!this.up) return;
    const reached = (stage: Stage) =>
      this.killAfter === undefined || stages.indexOf(stage) <= stages.indexOf(this.killAfter);
    const killed = this.killAfter;
    const now = this.operatorNow();
    const question = frozen({
      policy: this.policy,
      observed: this.keyring,
      traces: this.traces(),
      servers: this.observation(),
      agents: this.agents(),
      now,
    });
    const decision = planned(question, (count, algorithm) => this.fresh(count, algorithm));
    const same = () => planned(question, (count, algorithm) => this.fresh(count, algorithm));
    if (decision.action !== 'keep') mustEqual(same(), decision, 'the second plan');
    this.wakeAt = decision.action === 'hold' ? Number.POSITIVE_INFINITY : decision.wakeAt;
    if (decision.action !== 'hold') this.checkWishes(decision, now);
    this.isHeld = decision.action === 'hold';
    if (killed !== undefined) this.wakeAt = now + second;
    if (decision.action === 'hold') {
      for (const { kid } of decision.revoked) this.revoked.add(kid);
      this.publishUnion(decision, reached);
      if (reached('status')) this.tellRevocations(decision.revoked);
      this.killAfter = undefined;
      return;
    }
    if (decision.action === 'write') {
      this.made += 8;
      this.judge(decision, now);
    }
    if (reached('keyring')) this.persist(decision);
    this.distribute(decision.keyring, reached);
    if (reached('status') && reached('keyring')) this.tell(decision.keyring);
    this.killAfter = undefined;
  }

  // A rotation that is due and not held up happens at this very look, and one that is held up says so.
  private checkWishes({ keyring, rotation }: Extract<Plan, { action: 'write' | 'keep' }>, now: number): void {
    if (rotation.reason !== 'NotDue') return;
    const active = activeKey(keyring, now);
    if (!active) throw new Error('no key signs');
    must(dueAt(active, this.policy) > now, 'a rotation is due, and nobody says so');
    mustEqual(active.algorithm, this.policy.algorithm, 'the algorithm, of which nobody says anything,');
    const { rotateNow } = this.policy;
    must(rotateNow === '' || rotateNow === keyring.handledRotateNow, 'a rotateNow is forgotten');
  }

  private publishUnion(
    decision: Extract<Plan, { action: 'hold' }>,
    reached: (stage: Stage) => boolean,
  ): void {
    const { publish } = decision;
    if (!publish || !reached('configMap') || this.blocked === 'configMap') return;
    this.writeConfigMap(publish, this.traces().revision);
  }

  private persist(decision: Extract<Plan, { action: 'write' | 'keep' }>): void {
    if (decision.action !== 'write') return;
    const { keyring, before } = decision;
    for (const { kid } of keyring.revoked) {
      if (this.clocksHold && !this.revoked.has(kid) && !this.policy.revokedKeyIDs.includes(kid)) {
        const until = this.followedUntil.get(kid) ?? 0;
        must(
          until <= this.now,
          'revoked while tokens of sidecars that follow are alive:',
          kid,
          until - this.now,
        );
        this.revocations++;
      }
      this.revoked.add(kid);
    }
    const told = this.keyring.state === 'present' ? this.keyring.keyring.keys : [];
    const said = new Map(told.map(({ kid, acceptedFrom }) => [kid, acceptedFrom]));
    for (const key of keyring.keys) {
      const had = before.keys.find(({ kid }) => kid === key.kid);
      if (key.activateAt !== undefined && had?.activateAt === undefined) this.switches++;
      // What is said follows what is seen, until verifiers have had the time.
      if (key.acceptedFrom !== undefined && key.acceptedFrom !== said.get(key.kid)) {
        const from = key.acceptedFrom + this.policy.clockSkewMs;
        this.unripe.set(key.kid, { from, excused: this.killAfter !== undefined });
      }
    }
    this.keyring = present(keyring);
    this.copies = [...this.copies.filter((copy) => copy.revision < keyring.revision), keyring];
  }

  private distribute(keyring: Keyring, reached: (stage: Stage) => boolean): void {
    if (!reached('configMap') || this.blocked === 'configMap') return;
    this.writeConfigMap(publicKeys(keyring), keyring.revision);
    if (!reached('agentSecret') || this.blocked === 'agentSecret') return;
    const own = this.secretOf(keyring);
    if (!this.agentSecret || this.agentSecret.files.revision <= keyring.revision) {
      if (this.isNew(own, this.agentSecret)) {
        this.checkFiles(own.files, keyring);
        this.agentSecret = own;
        this.tellSidecars(false);
      }
    }
    if (!reached('elsewhere') || this.blocked === 'elsewhere') return;
    if (!keyring.namespaces.includes('elsewhere')) this.elsewhere = undefined;
    else if (this.isNew(own, this.elsewhere)) {
      this.elsewhere = own;
      this.tellSidecars(true);
    }
  }

  private isNew(secret: AgentSecret, before: AgentSecret | undefined): boolean {
    return JSON.stringify(secret.files) !== JSON.stringify(before?.files);
  }

  private tellSidecars(elsewhere: boolean): void {
    for (const sidecar of this.sidecars.filter((one) => one.elsewhere === elsewhere))
      sidecar.looks.push(this.now + sidecar.delay * this.policy.propagationMs);
  }

  private secretOf(keyring: Keyring): AgentSecret {
    const text = (ms: number) => `${ms}ms`;
    const issuer = issuerOf({
      ttl: { default: '1s', max: text(this.policy.maxTTLMs) },
      rotation: { ...defaultSpec.rotation, grace: text(this.policy.graceMs) },
    });
    const distributed = readDistributed(agentSecret(issuer, 'team', keyring));
    const [first, ...others] = distributed.map(({ kid, activateAt, signUntil, warnFrom, privateKey }) => {
      mustEqual(privateKey.d, `private-${kid}`, 'a private part');
      return {
        kid,
        activateAt: Date.parse(activateAt),
        signUntil: Date.parse(signUntil),
        warnFrom: Date.parse(warnFrom),
      };
    });
    if (!first) throw new Error('the agent Secret has no key');
    const { maxTTLMs } = this.policy;
    return { distributed, files: { keys: [first, ...others], maxTTLMs, revision: keyring.revision } };
  }

  // The files hold what signs or is committed to, and of a key that has retired nothing.
  private checkFiles({ keys, maxTTLMs }: Files, keyring: Keyring): void {
    const now = this.operatorNow();
    const active = activeKey(keyring, now);
    for (const { kid, activateAt, signUntil } of keys) {
      const key = keyring.keys.find((candidate) => candidate.kid === kid);
      mustEqual([key?.activateAt, key?.signUntil], [activateAt, signUntil], 'what files say of a key');
      must((key?.maxTTLMs ?? 0) >= maxTTLMs, 'files allow a longer lifetime than is recorded');
      if (active && activateAt < active.activateAt) {
        const isOver = now >= active.activateAt + this.policy.clockSkewMs;
        must(!isOver, 'files hold the private part of a key that has retired:', kid);
      }
    }
  }

  private writeConfigMap(keys: readonly PublicJWK[], revision: number): void {
    if (this.configMap && this.configMap.revision > revision) return;
    const kids = keys.map(({ kid }) => kid);
    must(kids.length > 0, 'the JWKS is empty');
    for (const kid of kids) must(!this.revoked.has(kid), 'a revoked key is published:', kid);
    if (
      this.configMap?.revision === revision &&
      JSON.stringify(kids) === JSON.stringify(this.configMap.keys.map(({ kid }) => kid))
    )
      return;
    this.configMap = { keys: [...keys], revision };
    for (const server of this.servers) server.looks.push(this.now + server.delay * this.policy.propagationMs);
  }

  private tellRevocations(revoked: Traces['revoked']): void {
    if (!this.status && revoked.length === 0) return;
    const { statusKeyIDs = [] } = this.status ?? {};
    this.status = {
      revision: 0,
      statusSignUntil: 0,
      handledRotateNow: undefined,
      observedRotateNow: this.policy.rotateNow,
      ...this.status,
      statusKeyIDs: statusKeyIDs.filter((kid) => revoked.every((key) => key.kid !== kid)),
      revoked,
    };
  }

  private tell(keyring: Keyring): void {
    this.status = {
      revision: keyring.revision,
      statusKeyIDs: keyring.keys.map(({ kid }) => kid),
      revoked: keyring.revoked,
      statusSignUntil: Math.max(0, ...keyring.keys.map(({ signUntil }) => signUntil ?? 0)),
      handledRotateNow: keyring.handledRotateNow,
      observedRotateNow: this.policy.rotateNow,
    };
  }

  // What a plan may never do, whatever happened.
  private judge(decision: Extract<Plan, { action: 'write' }>, now: number): void {
    const { keyring, before, change } = decision;
    const { policy } = this;
    const again = plan({
      policy,
      observed: present(keyring),
      traces: this.traces(),
      servers: this.observation(),
      agents: this.agents(),
      now,
      newKeys: [],
    });
    const { rotation, wakeAt } = decision;
    mustEqual(again, { action: 'keep', keyring, rotation, wakeAt }, 'the plan for what was planned');
    mustEqual(new Set(keyring.keys.map(({ kid }) => kid)).size, keyring.keys.length, 'the number of kids');
    const spares = spareKeys(keyring);
    const ofAlgorithm = spares.filter(({ algorithm }) => algorithm === policy.algorithm);
    must(ofAlgorithm.length >= spareCount || keyring.keys.length >= maxPublishedKeys, 'a spare is missing');
    const active = activeKey(keyring, now);
    if (!active) throw new Error('no key signs');
    must(active.signUntil > now, 'the active key has ended');
    const banned = new Set([...this.revoked, ...policy.revokedKeyIDs]);
    for (const { kid } of keyring.keys) must(!banned.has(kid), 'a revoked key is in the keyring:', kid);
    const revoked = new Set(keyring.revoked.map(({ kid }) => kid));
    for (const { kid } of before.revoked) must(revoked.has(kid), 'a revocation is forgotten:', kid);
    if (change !== 'KeyringUpdated') return;
    const revokedNow = keyring.revoked.length > before.revoked.length;
    for (const key of keyring.keys) {
      const had = before.keys.find(({ kid }) => kid === key.kid);
      if (!had) continue;
      if (had.activateAt !== undefined && !revokedNow)
        mustEqual(key.activateAt, had.activateAt, 'activateAt');
      for (const time of ['signUntil', 'removeAt', 'maxTTLMs'] as const) {
        const [was, is] = [had[time] ?? 0, key[time] ?? 0];
        must(is >= was, `${time} of ${key.kid} is ${was - is} ms less than before`);
      }
      must(had.privateKey !== undefined || key.privateKey === undefined, 'a private part came back');
    }
    for (const had of before.keys) {
      if (keyring.keys.some(({ kid }) => kid === had.kid)) continue;
      const isUnused = had.activateAt === undefined && had.privateKey !== undefined;
      const { signUntil = 0, maxTTLMs = 0 } = had;
      const end = had.removeAt ?? signUntil + maxTTLMs + leeway + policy.clockSkewMs;
      const isOver = had.activateAt !== undefined ? end <= now : had.removeAt !== undefined && end <= now;
      must(isUnused || isOver || revoked.has(had.kid), 'withdrawn too early:', had.kid);
      must(isUnused || !this.clocksDiffer || revoked.has(had.kid), 'withdrawn while clocks differ:', had.kid);
    }
    const next = committedKey(keyring, now);
    const wasCommitted = before.keys.some(
      ({ kid, activateAt }) => kid === next?.kid && activateAt !== undefined,
    );
    must(
      !next || wasCommitted || !this.clocksDiffer,
      'a switch is committed while clocks differ:',
      next?.kid,
    );
  }
}

export { day, hour, minute, second };
