import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { get } from 'node:http';
import { freePort } from '../../support/free-port.ts';
import { node, type Subject } from './subjects.ts';

const readyLimit = 30_000;

/** A running program under test. */
export interface Program {
  pid: number;
  port: number;
  healthPort: number;
  /** From the start of the process to the first answer that it is ready. */
  readyMilliseconds: number;
  stop(): Promise<void>;
}

/**
 * Starts a program and waits until it is ready. Its standard output is a file, as what a container writes becomes one:
 * the audit log is written in full.
 */
export async function start(subject: Subject, logFile: string): Promise<Program> {
  const [port, healthPort] = await Promise.all([freePort(), freePort()]);
  const output = openSync(logFile, 'w');
  const begin = performance.now();
  const child = spawn(node, subject.arguments, {
    env: subject.environment(port, healthPort),
    stdio: ['ignore', output, 'inherit'],
  });
  closeSync(output);
  const endWithUs = () => child.kill('SIGKILL');
  process.once('exit', endWithUs);
  const url =
    subject.ready === 'main' ? `http://127.0.0.1:${port}/healthz` : `http://127.0.0.1:${healthPort}/readyz`;
  while (!(await answers(url))) {
    if (child.exitCode !== null)
      throw new Error(`${subject.arguments.join(' ')} ended with ${child.exitCode}`);
    if (performance.now() - begin > readyLimit)
      throw new Error(`${subject.arguments.join(' ')} is not ready`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return {
    pid: child.pid ?? 0,
    port,
    healthPort,
    readyMilliseconds: performance.now() - begin,
    stop: () => stop(child, endWithUs),
  };
}

async function stop(child: ChildProcess, endWithUs: () => void): Promise<void> {
  child.kill('SIGKILL');
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  process.off('exit', endWithUs);
}

// Bare HTTP, since a retry of fetch takes longer than some of what is measured.
function answers(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    get(url, { agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).on('error', () => resolve(false));
  });
}
