import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { packagesOf } from './packages.ts';

const run = promisify(execFile);

interface Component {
  'bom-ref': string;
  type: string;
  name: string;
  version: string;
}

/** What we read and change of a CycloneDX document (https://cyclonedx.org/docs/1.5/json/). */
interface Bom {
  serialNumber?: string;
  metadata: { timestamp?: string; lifecycles?: { phase: string }[]; component: Component };
  components: Component[];
  dependencies?: unknown[];
}

/**
 * The software bill of materials of a bundle: what `npm sbom` says of the packages that it has a part of, as CycloneDX.
 * The same packages give the same text: it has neither a time nor a serial number.
 *
 * @param root the folder with package-lock.json, which the inputs are relative to.
 * @param name what the bundle is called.
 * @param inputs files of the bundle.
 * @throws {Error} when the lock file has no such package, or npm cannot be run.
 */
export async function sbom(root: string, name: string, inputs: readonly string[]): Promise<string> {
  const { serialNumber, dependencies, ...all } = await lockedPackages(root);
  const { timestamp, ...metadata } = all.metadata;
  const known = new Map(all.components.map((component) => [component['bom-ref'], component]));
  const components = (await packagesOf(root, inputs)).map((found) => {
    const component = known.get(`${found.name}@${found.version}`);
    if (component !== undefined) return component;
    throw new Error(`${found.name} ${found.version} is not in package-lock.json: run npm ci`);
  });
  const document = {
    ...all,
    metadata: {
      ...metadata,
      lifecycles: [{ phase: 'build' }],
      // npm names it after the folder that it is in.
      component: { ...metadata.component, type: 'application', name },
    },
    components,
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/** All packages of package-lock.json, those of development too. */
async function lockedPackages(root: string): Promise<Bom> {
  const { npm_execpath: npm } = process.env;
  const [program, ...words] = npm === undefined ? ['npm'] : [process.execPath, npm];
  const args = [...words, 'sbom', '--package-lock-only', '--sbom-format', 'cyclonedx'];
  const { stdout } = await run(program as string, args, { cwd: root, maxBuffer: 2 ** 26 });
  return JSON.parse(stdout);
}
