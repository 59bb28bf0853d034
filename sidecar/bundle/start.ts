// dist/start.cjs: starts the bundle with what V8 compiled of it when it was built; without, where that cannot be used. Node.js
// has a cache of its own for that, NODE_COMPILE_CACHE, but keeps in it only what is compiled before the program runs: a third of
// what a start needs.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { debuglog } from 'node:util';
import { codeFile, compile, readBundle, unsealed } from './compile.ts';

const bundle = readBundle(__dirname);
const code = unsealed(bundle, readKept());
const script = compile(bundle, code);
const isUsed = code !== undefined && !script.cachedDataRejected;
debuglog('macp-auth-start')('compiled code was %s', isUsed ? 'accepted' : 'rejected');
script.runInThisContext()(exports, require, module, bundle.filename, __dirname);

function readKept(): Buffer {
  try {
    return readFileSync(join(__dirname, codeFile));
  } catch {
    return Buffer.alloc(0);
  }
}
