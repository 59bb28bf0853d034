// Runs the bundle in a folder, and keeps there what V8 compiled of it until the end. The build alone runs this.
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { codeFile, compile, readBundle, sealed } from './compile.ts';

const folder = process.argv[2] as string;
const bundle = readBundle(folder);
const script = compile(bundle);
// Marks of functions that run often, which are kept too, and which two builds would not have of the same functions.
const learning = ['sparkplug', 'profile-guided-optimization'];
for (const option of learning) setFlagsFromString(`--no-${option}`);
process.on('exit', () => {
  // Or the code would be rejected: V8 takes it only under the options that it was written under.
  for (const option of learning) setFlagsFromString(`--${option}`);
  writeFileSync(join(folder, codeFile), sealed(bundle, script.createCachedData()));
});
const module = { exports: {} };
script.runInThisContext()(module.exports, createRequire(import.meta.url), module, bundle.filename, folder);
