import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { crc32 } from 'node:zlib';

/** The file beside the bundle with what V8 compiled of it: a checksum, and the code. */
export const codeFile = 'sidecar.code';

const checksumBytes = 4;

/** The bundle as it lies in its folder. */
export interface Bundle {
  filename: string;
  source: Buffer;
}

/** Reads the bundle in a folder. */
export function readBundle(folder: string): Bundle {
  const filename = join(folder, 'sidecar.cjs');
  return { filename, source: readFileSync(filename) };
}

/**
 * The bundle as a script. When it runs it gives a function that takes what Node.js gives to a module, and is the program.
 *
 * @param cachedData what V8 compiled of the same bundle earlier. Of another version of V8, or under other options of it, it
 *   is rejected; nothing else is looked at, which is what {@link sealed} is for.
 */
export function compile({ filename, source }: Bundle, cachedData?: Buffer): Script {
  const wrapped = `(function (exports, require, module, __filename, __dirname) {${source}\n})`;
  return new Script(wrapped, { filename, cachedData });
}

/** Compiled code with a checksum of it and of the source that it was made of. */
export function sealed({ source }: Bundle, code: Buffer): Buffer {
  const seal = Buffer.alloc(checksumBytes);
  seal.writeUInt32BE(crc32(code, crc32(source)));
  return Buffer.concat([seal, code]);
}

/** The code of {@link sealed}; undefined when it or the source is not what it was. */
export function unsealed({ source }: Bundle, kept: Buffer): Buffer | undefined {
  const code = kept.subarray(checksumBytes);
  const isWhole = kept.length > checksumBytes && kept.readUInt32BE() === crc32(code, crc32(source));
  return isWhole ? code : undefined;
}
