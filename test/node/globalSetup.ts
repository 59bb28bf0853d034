import { prepareNode } from './prepare.ts';
import { requireRoot } from './space.ts';

/** For jest's globalSetup: no test has to wait for a build. */
export default async function setUp(): Promise<void> {
  requireRoot();
  await prepareNode((line) => process.stderr.write(`${line}\n`));
}
