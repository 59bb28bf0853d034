import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { KubeConfig } from '@kubernetes/client-node';
import type { MacpAuthIssuer } from '../../operator/api/names.ts';
import { jwksPath } from '../../operator/build/server.ts';
import { ApiClient } from '../../operator/cluster/client.ts';
import { eventually } from '../integration/support.ts';
import { kubectlFor } from '../local/kubectl.ts';
import type { StartResult } from '../local/print.ts';
import { buildTimeoutMs, ensureRuntime } from '../verify/toolchain/runtime.ts';
import { openScene, refusals, type Scene, say, summary } from './continuous.ts';
import { npmStart, processesOf, processOf, type Started } from './npm-start.ts';

const cacheMs = 1_000;
const propagationMs = 6_000;
const ttl = { default: '10s', max: '20s' };
const spec = {
  ttl,
  rotation: {
    interval: '10m',
    verifierCacheTTL: `${cacheMs}ms`,
    // Long enough between decision and switch for patches and restarts.
    propagation: `${propagationMs}ms`,
    clockSkew: '1s',
    grace: '5m',
  },
};

describe('the sample of npm start, whose issuer is patched and whose operator is ended all the time', () => {
  let started: Started;
  let start: StartResult;
  let scene: Scene;
  let ends = 0;
  const revoked: string[] = [];

  beforeAll(async () => {
    // Before anything runs that a failure would have to end.
    await ensureRuntime();
    started = npmStart('--json');
    start = await started.result();
    const kubectl = kubectlFor(start.kubectl, start.kubeconfig);
    const patch = ['patch', 'mai', 'sample', '-n', 'default', '--type=merge', '-p', JSON.stringify({ spec })];
    await kubectl.run(patch);
    const kubeConfig = new KubeConfig();
    kubeConfig.loadFromFile(start.kubeconfig);
    scene = await openScene({ namespace: 'default', client: new ApiClient(kubeConfig), kubectl }, 'sample', {
      pods: { 'sample-agent': start.mintURL },
      jwksURL: start.jwksURL,
      cacheSeconds: cacheMs / 1000,
    });
    // The spares ripen: what is asked for then is decided at once, and not after a restart has gone by.
    await sleep(cacheMs + 2_000);
  }, buildTimeoutMs);
  afterAll(async () => {
    await started?.end('SIGINT');
    await scene?.close();
  }, 60_000);

  const keys = async () => (await scene.issuer()).status?.keys ?? [];
  const active = async () => (await scene.issuer()).status?.activeKeyID as string;
  const reason = ({ status }: MacpAuthIssuer) =>
    status?.conditions?.find(({ type }) => type === 'RotationOnTime')?.reason;
  const answered = (token: string) =>
    eventually(`the rotation ${token} done`, async () => {
      const issuer = await scene.issuer();
      return issuer.status?.handledRotateNow === token && reason(issuer) === 'NotDue' && issuer.status;
    });
  /** Waits until the operator has acted on the spec as it is. */
  const acted = () =>
    eventually('status about the last patch', async () => {
      const { metadata, status } = await scene.issuer();
      return status?.observedGeneration === metadata.generation;
    });
  const committed = () =>
    eventually('a committed switch', async () => {
      const next = (await keys()).find(({ state, activeTime }) => state === 'Next' && activeTime);
      return next && { kid: next.keyID, activeTime: next.activeTime as string };
    });
  const unrefused = () => {
    expect(refusals(scene.agent, revoked)).toEqual([]);
    expect(scene.agent.failedMints).toEqual([]);
    expect(scene.keys.violations).toEqual([]);
  };

  /** The operator, once it has started: it is its work that is to be cut short, not its boot. */
  const operator = () =>
    eventually('a started operator', async () => {
      const log = readFileSync(join(dirname(start.kubeconfig), 'operator.log'), 'utf8');
      return log.split('"started"').length - 1 > ends && processOf(start.operatorCommand);
    });

  /** Ends the operator, which `npm start` then starts again. */
  async function end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const pid = await operator();
    if (ends === 0) expect(pid).toBe(start.operatorPID);
    process.kill(pid, signal);
    ends += 1;
    await eventually('its end', async () => {
      const told = started.stderr().match(/the operator ended \(\S+;/g) ?? [];
      if (told.length < ends) return false;
      expect(told.at(-1)).toBe(`the operator ended (${signal === 'SIGTERM' ? 0 : signal};`);
      return true;
    });
  }

  test('rotateNow 20 times in a row, across a restart and a kill, rotates a few times and loses none', async () => {
    const first = await active();
    const before = new Set((await keys()).map(({ keyID }) => keyID));
    for (let i = 1; i <= 20; i++) {
      await scene.patch({ rotation: { rotateNow: `again-${i}` } });
      if (i === 7) await end('SIGTERM');
      if (i === 14) await end('SIGKILL');
      await operator();
    }
    const status = await answered('again-20');
    expect(status.activeKeyID).not.toBe(first);
    const made = status.keys?.filter(({ keyID }) => !before.has(keyID)).length ?? 0;
    // Each rotation makes one key. What was asked for during the first switch asks for another one.
    expect(made).toBeGreaterThanOrEqual(2);
    expect(made).toBeLessThanOrEqual(20);
    expect(status.keys?.filter(({ state }) => state === 'Next')).toHaveLength(2);
    await scene.agent.sees(status.activeKeyID as string);
    await eventually(
      'the sidecar with all of them',
      async () => {
        const jwks = await fetch(new URL(jwksPath, start.mintURL));
        const { keys } = (await jwks.json()) as { keys: { kid: string }[] };
        return status.keys?.every(({ keyID }) => keys.some(({ kid }) => kid === keyID));
      },
      5,
    );
    say(`start: 20 patches of rotateNow made ${made} rotations`);
    unrefused();
  }, 180_000);

  test.each([
    ['SIGTERM', 'SIGTERM'],
    ['SIGKILL', 'SIGTERM'],
    ['SIGTERM', 'SIGKILL'],
    ['SIGKILL', 'SIGKILL'],
  ] as const)(
    'verifierCacheTTL and ttl.max up (%s) and down (%s) between decision and switch move nothing',
    async (up, down) => {
      await scene.patch({ rotation: { rotateNow: `${up}-${down}` } });
      const { kid, activeTime } = await committed();
      await scene.patch({ rotation: { verifierCacheTTL: '5m' }, ttl: { max: '2m' } });
      await end(up);
      await acted();
      await scene.patch({ rotation: { verifierCacheTTL: '2s', propagation: '1s' } });
      await scene.patch({ ttl: { max: '15s' } });
      await end(down);
      await acted();
      await scene.patch(spec);
      await eventually('the switch', async () => (await active()) === kid, 30);
      expect((await keys()).find(({ keyID }) => keyID === kid)?.activeTime).toBe(activeTime);
      const seen = await scene.agent.sees(kid);
      expect(seen.askedAt).toBeGreaterThanOrEqual(Date.parse(activeTime));
      await answered(`${up}-${down}`);
      unrefused();
    },
    120_000,
  );

  // The keyring is persisted first, then the JWKS, then the agent Secret, then status: one of the gaps each.
  test('a kill in the middle of deciding and distributing loses nothing', async () => {
    for (const delay of [150, 300, 450, 600, 900]) {
      await operator();
      await scene.patch({ rotation: { rotateNow: `after-${delay}` } });
      await sleep(delay);
      await end('SIGKILL');
    }
    const status = await answered('after-900');
    expect(status.keys?.filter(({ state }) => state === 'Next')).toHaveLength(2);
    await scene.agent.sees(status.activeKeyID as string);
    unrefused();
  }, 120_000);

  test('a key that is revoked is refused one cache time later, and the next one accepted at once', async () => {
    const leaked = await active();
    revoked.push(leaked);
    const asked = Date.now();
    await scene.patch({ rotation: { revokedKeyIDs: revoked } });
    const { status } = await scene.switched(leaked);
    const promoted = status?.keys?.find(({ state }) => state === 'Active');
    expect(promoted).not.toHaveProperty('acceptedFromTime');
    await scene.agent.sees(promoted?.keyID as string);
    await sleep(asked + propagationMs + cacheMs + 3_000 - Date.now());
    const of = (kid: string | undefined) => scene.agent.verdicts.filter((verdict) => verdict.kid === kid);
    const accepted = of(leaked).filter(({ outcome }) => outcome === 'accepted');
    const refused = of(leaked).filter(({ outcome }) => outcome !== 'accepted');
    const lastAccepted = Math.max(...accepted.map(({ askedAt }) => askedAt));
    expect(refused.length).toBeGreaterThan(0);
    expect(new Set(refused.map(({ outcome }) => outcome))).toEqual(new Set(['UNAUTHENTICATED']));
    expect(lastAccepted).toBeLessThan(asked + propagationMs + cacheMs);
    const next = of(promoted?.keyID);
    say(
      `start: revoked at 0 ms: last accepted at ${lastAccepted - asked} ms, ${refused.length} refused; first token ` +
        `of the next key at ${Math.min(...next.map(({ mintedAt }) => mintedAt)) - asked} ms, ${next.length} verdicts`,
    );
    unrefused();
  }, 60_000);

  test('no token of a good key was refused in all of it, and Ctrl-C leaves nothing behind', async () => {
    say(`start: ${summary(scene.agent, revoked)}; ${ends} ends of the operator, ${scene.keys.looks()} looks`);
    unrefused();
    expect(scene.keys.looks()).toBeGreaterThan(100);
    // Several a second, or there was nothing to refuse.
    const [first, last] = [scene.agent.verdicts[0], scene.agent.verdicts.at(-1)];
    const seconds = ((last?.judgedAt ?? 0) - (first?.mintedAt ?? 0)) / 1000;
    expect(scene.agent.minted()).toBeGreaterThan(3 * seconds);
    await scene.close();
    await started.end('SIGINT');
    const folder = dirname(start.kubeconfig);
    await eventually('no process left', async () => processesOf(folder).length === 0, 10);
    expect(existsSync(folder)).toBe(false);
  }, 60_000);
});
