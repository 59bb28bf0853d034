import { buildImages } from '../../images/build.ts';
import type { Log } from '../../support/process.ts';
import { buildPythonImage, pythonImage } from './python.ts';
import { buildRuntimeImage, runtimeImage } from './runtime.ts';

/** An image: what pods call it, and the docker-archive that it lies in. */
interface TestImage {
  ref: string;
  archive: string;
}

/** All images that the end-to-end tests run: the two that are shipped, the MACP runtime, and an agent in Python. */
export async function buildTestImages(
  log: Log,
): Promise<Record<'sidecar' | 'operator' | 'runtime' | 'python', TestImage>> {
  const runtime = { ref: runtimeImage, archive: await buildRuntimeImage(log) };
  const python = { ref: pythonImage, archive: await buildPythonImage(log) };
  const { sidecar, operator } = await buildImages({ log });
  return { sidecar, operator, runtime, python };
}
