import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

const document = join(import.meta.dirname, '../../docs/injection-by-hand.md');

/** The pod of the document about injection by hand, as it stands there: an agent of the issuer agents.team. */
export async function documentedPod(): Promise<string> {
  const pod = /^```yaml\n([\s\S]+?)^```/m.exec(await readFile(document, 'utf8'))?.[1];
  if (!pod) throw new Error(`${document} has no block of YAML`);
  return pod;
}
