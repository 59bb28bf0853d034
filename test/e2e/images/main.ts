// npx node test/e2e/images/main.ts: what the tests' images are called, and the files that they lie in. A cluster of one's
// own has to be given them before the tests run there.
import { buildTestImages } from './all.ts';

const images = await buildTestImages((line) => process.stderr.write(`${line}\n`));
for (const { ref, archive } of Object.values(images)) process.stdout.write(`${ref} ${archive}\n`);
