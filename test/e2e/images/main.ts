// npx node test/e2e/images/main.ts: builds the tests' images, those of the release before too, and prints of each the flag
// of npm run test:e2e, what the flag is given, and the file that the image lies in. A cluster of one's own has to be given
// them before the tests run there. Needs root, git's history, and minutes at the first time.
import { buildRelease } from '../release/build.ts';
import { releaseBefore, root } from '../release/history.ts';
import { buildTestImages } from './all.ts';

const log = (line: string) => process.stderr.write(`${line}\n`);
const images = await buildTestImages(log);
const former = await buildRelease(await releaseBefore(root), log);
for (const [prefix, group] of [
  ['--', images],
  ['--former-', former],
] as const) {
  for (const [name, { ref, archive }] of Object.entries(group))
    process.stdout.write(`${prefix}${name}-image ${ref} ${archive}\n`);
}
