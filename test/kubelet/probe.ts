import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import type { V1Container, V1HTTPGetAction, V1Probe } from '@kubernetes/client-node';
import { ConfigError } from './environment.ts';

/** Says why a container's probes can't be run here, if they can't. */
export function requireKnownProbes(container: V1Container): void {
  for (const probe of [container.startupProbe, container.readinessProbe, container.livenessProbe]) {
    if (probe && !probe.httpGet && !probe.tcpSocket) {
      throw new ConfigError(
        `container ${container.name}: the process kubelet knows httpGet and tcpSocket probes only`,
      );
    }
  }
}

/** Probes a container until stopped, and tells each time its verdict changes. */
export function startProbe(
  container: V1Container,
  probe: V1Probe,
  podIP: string,
  onVerdict: (healthy: boolean, message: string) => void,
): { stop(): void } {
  const periodMs = (probe.periodSeconds ?? 10) * 1000;
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let verdict: boolean | undefined;
  let successes = 0;
  let failures = 0;
  const delayMs = (probe.initialDelaySeconds ?? 0) * 1000;
  // A program gets one period to start before a failure counts.
  let lastCounted = Date.now() + delayMs;
  let succeeded = false;
  const check = async () => {
    const problem = await attempt(container, probe, podIP);
    if (stopped) return;
    if (problem === undefined) {
      succeeded = true;
      successes++;
      failures = 0;
    } else if (Date.now() - lastCounted >= periodMs - 50) {
      lastCounted = Date.now();
      failures++;
      successes = 0;
    }
    const before = verdict;
    if (successes >= (probe.successThreshold ?? 1)) verdict = true;
    if (failures >= (probe.failureThreshold ?? 3)) verdict = false;
    // Until it first succeeds it is asked more often than it is counted, so that tests don't wait for whole periods.
    timer = setTimeout(check, succeeded ? periodMs : Math.min(periodMs, 100));
    if (verdict !== undefined && verdict !== before) onVerdict(verdict, problem ?? '');
  };
  timer = setTimeout(check, delayMs);
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

/** One probe; undefined when it succeeds, else what is wrong. */
function attempt(container: V1Container, probe: V1Probe, podIP: string): Promise<string | undefined> {
  const timeout = (probe.timeoutSeconds ?? 1) * 1000;
  if (probe.httpGet) return httpGet(probe.httpGet, podIP, portOf(container, probe.httpGet.port), timeout);
  return tcpConnect(podIP, portOf(container, probe.tcpSocket?.port), timeout);
}

function portOf(container: V1Container, port: unknown): number {
  const named = container.ports?.find(({ name }) => name !== undefined && name === port);
  return named?.containerPort ?? Number(port);
}

function httpGet(
  action: V1HTTPGetAction,
  podIP: string,
  port: number,
  timeout: number,
): Promise<string | undefined> {
  const request = action.scheme === 'HTTPS' ? httpsRequest : httpRequest;
  return new Promise((resolve) => {
    const sent = request(
      {
        host: action.host ?? podIP,
        port,
        path: action.path ?? '/',
        headers: Object.fromEntries((action.httpHeaders ?? []).map(({ name, value }) => [name, value])),
        // As a kubelet does.
        rejectUnauthorized: false,
        agent: false,
        signal: AbortSignal.timeout(timeout),
      },
      (response) => {
        response.resume();
        const code = response.statusCode ?? 0;
        resolve(code >= 200 && code < 400 ? undefined : `HTTP probe failed with statuscode: ${code}`);
      },
    );
    sent.on('error', (error) => resolve(error.message));
    sent.end();
  });
}

function tcpConnect(host: string, port: number, timeout: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout });
    const end = (problem?: string) => {
      socket.destroy();
      resolve(problem);
    };
    socket.once('connect', () => end());
    socket.once('timeout', () => end('timeout'));
    socket.once('error', (error) => end(error.message));
  });
}
