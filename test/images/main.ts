// npm run images [-- --output FOLDER]: both images as files, from the cache or built.
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildImages, type Image } from './build.ts';

const { values } = parseArgs({ options: { output: { type: 'string' } } });

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

const images = await buildImages({ log: (line) => process.stderr.write(`${line}\n`) });
for (const [name, image] of Object.entries<Image>({ ...images })) {
  let file = image.archive;
  if (values.output !== undefined) {
    await mkdir(values.output, { recursive: true });
    file = join(values.output, `${name}.tar`);
    await copyFile(image.archive, file);
  }
  process.stdout.write(
    `${image.ref} ${image.id}\n  ${megabytes(image.size)}, with gzip ${megabytes(image.compressedSize)}\n  ${file}\n`,
  );
}
