// npm run tools -- test|e2e: builds and fetches what those tests take, into the cache, so that none of them waits for it.
import { ensureBinaries } from '../controlplane/binaries.ts';
import { buildTestImages } from '../e2e/images/all.ts';
import { buildRelease } from '../e2e/release/build.ts';
import { releaseBefore, root } from '../e2e/release/history.ts';
import { prepareNode } from '../node/prepare.ts';
import { ensureActionlint } from '../support/actionlint.ts';
import { ensureHelm } from '../support/helm.ts';
import { ensureMonitoringCRDs } from '../support/prometheus-operator.ts';
import { ensurePromtool } from '../support/promtool.ts';
import { ensureCaddy } from '../verify/toolchain/caddy.ts';
import { ensureRuntime } from '../verify/toolchain/runtime.ts';

const log = (line: string) => process.stderr.write(`${line}\n`);

const groups: Record<string, () => Promise<unknown>> = {
  // Two at a time: each has stretches that occupy one core, or none.
  test: () =>
    Promise.all([
      ensureBinaries({ log }),
      (async () => {
        await ensureRuntime({ log });
        await ensureHelm(log);
        await ensurePromtool(log);
        await ensureMonitoringCRDs(log);
        await ensureCaddy(log);
      })(),
    ]),
  e2e: async () => {
    await prepareNode(log);
    await ensureActionlint(log);
    await buildTestImages(log);
    await buildRelease(await releaseBefore(root), log);
  },
};

const [name = ''] = process.argv.slice(2);
const group = groups[name];
const begin = Date.now();
try {
  if (!group) throw new Error(`usage: npm run tools -- ${Object.keys(groups).join('|')}`);
  await group();
  log(`all that ${name} takes is there, after ${((Date.now() - begin) / 1000).toFixed(0)} s`);
} catch (error) {
  log((error as Error).message);
  // What is still being built ends with this process.
  process.exit(1);
}
