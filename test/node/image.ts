import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { packLayer, writeArchive } from '../support/image-archive.ts';

/** The image of the node's own program: it holds pods open, and serves and asks over HTTP in tests. */
export const podImage = 'localhost/macp-node/pod:1';

/** Writes a docker-archive of an image with one static program into a folder; resolves with its path. */
export async function writePodImage(dir: string, program: string): Promise<string> {
  const root = join(dir, 'root');
  const layer = join(dir, 'layer.tar');
  const file = join(dir, 'pod.tar');
  await mkdir(root, { recursive: true });
  await copyFile(program, join(root, 'pod'));
  await packLayer(layer, root);
  await writeArchive(file, { ref: podImage, layers: [layer], entrypoint: ['/pod'], cmd: ['pause'] });
  return file;
}
