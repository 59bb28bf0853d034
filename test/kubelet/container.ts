import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import type { V1Container, V1ContainerStatus } from '@kubernetes/client-node';
import { signalGroup, spawnTethered } from '../support/process.ts';
import type { ProcessSpec } from './environment.ts';
import { startProbe } from './probe.ts';
import type { Reaper } from './reaper.ts';

/** `init` runs to its end before what follows it, `sidecar` is an init container that stays. */
export type Role = 'init' | 'sidecar' | 'regular';

/** How long a container that ended waits before it starts again: doubling from `baseMs` to `capMs`. */
export interface BackOff {
  baseMs: number;
  capMs: number;
}

interface Terminated {
  exitCode: number;
  reason: string;
  message?: string;
  startedAt: string;
  finishedAt: string;
  containerID: string;
}

interface Run {
  pid: number;
  containerID: string;
  startedAt: string;
  logOffset: number;
  unwatch: () => void;
  ended: Promise<void>;
}

/** One container of a pod: at most one process at a time, its probes, and what its status says. */
export class Container {
  readonly spec: V1Container;
  readonly role: Role;
  readonly logFile: string;
  restartCount: number;
  /** Past its startup probe. */
  started = false;
  #ready = false;
  #waiting: { reason: string; message?: string };
  #run: Run | undefined;
  #terminated: Terminated | undefined;
  #lastTerminated: Terminated | undefined;
  #crashes = 0;
  #retired = false;
  #backOffTimer: NodeJS.Timeout | undefined;
  #probes: { stop(): void }[] = [];
  readonly #restartPolicy: string;
  readonly #backOff: BackOff;
  readonly #gracePeriodMs: number;
  readonly #reaper: Reaper;
  readonly #changed: () => void;

  constructor(options: {
    spec: V1Container;
    role: Role;
    logFile: string;
    restartCount: number;
    restartPolicy: string;
    /** Why it does not run yet. */
    waiting: string;
    gracePeriodMs: number;
    backOff: BackOff;
    reaper: Reaper;
    changed: () => void;
  }) {
    this.spec = options.spec;
    this.role = options.role;
    this.logFile = options.logFile;
    this.restartCount = options.restartCount;
    this.#restartPolicy = options.role === 'sidecar' ? 'Always' : options.restartPolicy;
    this.#waiting = { reason: options.waiting };
    this.#gracePeriodMs = options.gracePeriodMs;
    this.#backOff = options.backOff;
    this.#reaper = options.reaper;
    this.#changed = options.changed;
  }

  get name(): string {
    return this.spec.name;
  }

  get pid(): number | undefined {
    return this.#run?.pid;
  }

  get exitCode(): number | undefined {
    return this.#terminated?.exitCode;
  }

  /** It ended, and does not start again. */
  get finished(): boolean {
    return this.#terminated !== undefined && (this.#retired || !this.#restarts(this.#terminated.exitCode));
  }

  /** It has run at least once. */
  get everRan(): boolean {
    return this.#run !== undefined || this.#terminated !== undefined || this.#lastTerminated !== undefined;
  }

  get ready(): boolean {
    return this.role === 'init' ? this.exitCode === 0 : this.#run !== undefined && this.#ready;
  }

  /** Whether it should get a process now. */
  get startable(): boolean {
    return !this.#run && !this.finished && !this.#backOffTimer && !this.#retired;
  }

  wait(reason: string, message?: string): void {
    this.#waiting = { reason, ...(message && { message }) };
  }

  start(spec: ProcessSpec, podIP: string, cwd: string): void {
    const output = openSync(this.logFile, 'a');
    const logOffset = statSync(this.logFile).size;
    const child = spawnTethered(spec.argv, { env: spec.env, cwd, stdio: ['ignore', output, output] });
    closeSync(output);
    const pid = child.pid ?? 0;
    const run: Run = {
      pid,
      containerID: `process://${randomUUID()}`,
      startedAt: new Date().toISOString(),
      logOffset,
      unwatch: pid ? this.#reaper.watch(pid) : () => {},
      ended: new Promise((resolve) => {
        child.once('error', () => resolve(this.#onEnd(run, 128)));
        child.once('exit', (code, signal) => resolve(this.#onEnd(run, code ?? 128 + signalNumber(signal))));
      }),
    };
    if (this.everRan) this.restartCount++;
    if (this.#terminated) this.#lastTerminated = this.#terminated;
    this.#terminated = undefined;
    this.#run = run;
    this.#startProbes(podIP);
  }

  /** Ends it for good: SIGTERM, and SIGKILL at the deadline. Returns when nothing of it is left. */
  async retire(deadline: number): Promise<void> {
    this.#retire();
    await this.#stop(deadline);
  }

  /** Ends it for good, at once. */
  async kill(): Promise<void> {
    this.#retire();
    const run = this.#run;
    if (!run) return;
    signalGroup(run.pid, 'SIGKILL');
    await run.ended;
  }

  status(): V1ContainerStatus {
    const run = this.#run;
    const state = run
      ? { running: { startedAt: run.startedAt } }
      : this.#terminated && !this.#backOffTimer
        ? { terminated: this.#terminated }
        : { waiting: this.#waiting };
    const last = this.#backOffTimer ? this.#terminated : this.#lastTerminated;
    const containerID = run?.containerID ?? this.#terminated?.containerID;
    // As JSON: the typed model has Date objects where the API has strings.
    return {
      name: this.name,
      image: this.spec.image ?? '',
      imageID: this.spec.image ?? '',
      ...(containerID && { containerID }),
      restartCount: this.restartCount,
      started: run !== undefined && this.started,
      ready: this.ready,
      state,
      lastState: last ? { terminated: last } : {},
    } as unknown as V1ContainerStatus;
  }

  #retire(): void {
    this.#retired = true;
    clearTimeout(this.#backOffTimer);
    this.#backOffTimer = undefined;
  }

  async #stop(deadline: number): Promise<void> {
    const run = this.#run;
    if (!run) return;
    const sleepMs = (this.spec.lifecycle?.preStop?.sleep?.seconds ?? 0) * 1000;
    const timers = [
      setTimeout(() => signalProcess(run.pid, 'SIGTERM'), Math.min(sleepMs, deadline - Date.now())),
      setTimeout(() => signalGroup(run.pid, 'SIGKILL'), deadline - Date.now()),
    ];
    await run.ended;
    timers.forEach(clearTimeout);
  }

  #restarts(exitCode: number): boolean {
    if (this.role === 'init' && exitCode === 0) return false;
    if (this.#restartPolicy === 'Always') return true;
    return this.#restartPolicy === 'OnFailure' && exitCode !== 0;
  }

  #startProbes(podIP: string): void {
    const { startupProbe, readinessProbe, livenessProbe } = this.spec;
    const restart = () => void this.#stop(Date.now() + this.#gracePeriodMs);
    const begin = () => {
      this.started = true;
      this.#ready = !readinessProbe;
      if (readinessProbe) {
        const onVerdict = (healthy: boolean) => {
          this.#ready = healthy;
          this.#changed();
        };
        this.#probes.push(startProbe(this.spec, readinessProbe, podIP, onVerdict));
      }
      if (livenessProbe) {
        this.#probes.push(startProbe(this.spec, livenessProbe, podIP, (healthy) => healthy || restart()));
      }
      this.#changed();
    };
    if (!startupProbe) {
      begin();
      return;
    }
    const startup = startProbe(this.spec, startupProbe, podIP, (healthy) => {
      startup.stop();
      if (healthy) begin();
      else restart();
    });
    this.#probes.push(startup);
  }

  #onEnd(run: Run, exitCode: number): void {
    // What it started and left behind ends with it, as in a container.
    signalGroup(run.pid, 'SIGKILL');
    run.unwatch();
    for (const probe of this.#probes.splice(0)) probe.stop();
    this.started = false;
    this.#ready = false;
    this.#run = undefined;
    const message = exitCode === 0 ? '' : tail(this.logFile, run.logOffset);
    this.#terminated = {
      exitCode,
      reason: exitCode === 0 ? 'Completed' : 'Error',
      ...(message && { message }),
      startedAt: run.startedAt,
      finishedAt: new Date().toISOString(),
      containerID: run.containerID,
    };
    if (!this.finished) this.#scheduleRestart(Date.now() - Date.parse(run.startedAt));
    this.#changed();
  }

  #scheduleRestart(ranMs: number): void {
    if (ranMs > 2 * this.#backOff.capMs) this.#crashes = 0;
    const delay = Math.min(this.#backOff.baseMs * 2 ** this.#crashes++, this.#backOff.capMs);
    this.wait('CrashLoopBackOff', `back-off ${delay / 1000}s restarting failed container=${this.name}`);
    this.#backOffTimer = setTimeout(() => {
      this.#backOffTimer = undefined;
      this.#changed();
    }, delay);
  }
}

// A runtime signals the first process of a container, not all of them.
function signalProcess(pid: number, signal: NodeJS.Signals): void {
  if (!pid) return;
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function signalNumber(signal: NodeJS.Signals | null): number {
  return { SIGTERM: 15, SIGKILL: 9, SIGINT: 2, SIGSEGV: 11, SIGABRT: 6 }[signal as string] ?? 1;
}

function tail(file: string, from: number): string {
  const end = statSync(file).size;
  const start = Math.max(from, end - 2048);
  const buffer = Buffer.alloc(end - start);
  const handle = openSync(file, 'r');
  readSync(handle, buffer, 0, buffer.length, start);
  closeSync(handle);
  return buffer.toString().trimEnd().split('\n').slice(-10).join('\n');
}
