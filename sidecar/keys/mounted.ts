import type { ZodError, ZodType } from 'zod';
import {
  fileNames,
  jwksFile,
  type MintSettings,
  type SigningKeysFile,
  settingsFile,
  signingKeysFile,
} from '../contract/files.ts';
import { type PublicJWKS, publicHalf } from '../contract/jwk.ts';
import { FileError } from './file-error.ts';
import type { FileTexts } from './files.ts';
import { importSigningKey, KeyError, type SigningKey } from './key.ts';
import { type Material, type MintMaterial, servedJWKS } from './material.ts';

const restore = 'let the operator write it again, or restore the Secret or ConfigMap that is mounted';

/**
 * Turns the texts of one version of the mounted files into the material that requests are answered from.
 * Nothing of it is used unless all of it is good.
 *
 * @throws {FileError} at the first problem; its message holds no value of a key's member.
 */
export function parseFiles(texts: FileTexts): Material {
  const settings = parse('settings', texts.settings, settingsFile);
  const jwks = parse('jwks', texts.jwks, jwksFile);
  const kids = jwks.keys.map((key) => key.kid);
  return {
    revision: settings.revision,
    // The checked text itself, so that what the operator wrote and what verifiers get are the same bytes.
    jwks: servedJWKS(texts.jwks ?? '', kids, settings.jwksMaxAgeSeconds),
    mint: settings.role === 'mint' ? mintMaterial(settings, texts, jwks) : nothingPrivate(texts),
  };
}

function mintMaterial(settings: MintSettings, texts: FileTexts, jwks: PublicJWKS): MintMaterial {
  const { issuer, audience, defaultTTLSeconds, maxTTLSeconds, grants } = settings;
  const [first, ...rest] = parse('keys', texts.keys, signingKeysFile).keys.map((key, index) =>
    signingKey(key, `keys[${index}]`, jwks),
  );
  if (first === undefined) throw new FileError(fileNames.keys, 'keys: is empty', restore);
  return { issuer, audience, defaultTTLSeconds, maxTTLSeconds, grants, keys: [first, ...rest] };
}

function nothingPrivate(texts: FileTexts): undefined {
  if (texts.keys === undefined) return undefined;
  throw new FileError(
    fileNames.keys,
    `must not be there when role in ${fileNames.settings} is publish: a public server holds no private key`,
    'mount the ConfigMap with the public files only',
  );
}

function signingKey(key: SigningKeysFile['keys'][number], path: string, jwks: PublicJWKS): SigningKey {
  const { kid, alg } = key;
  try {
    const { sign } = importSigningKey(key.privateKey, alg);
    if (!isPublished(key, jwks)) {
      throw new KeyError(`${fileNames.jwks} does not have its public half under that kid and alg`);
    }
    return {
      kid,
      alg,
      sign,
      activateAt: Date.parse(key.activateAt),
      signUntil: Date.parse(key.signUntil),
      warnFrom: Date.parse(key.warnFrom),
    };
  } catch (error) {
    if (!(error instanceof KeyError)) throw error;
    throw new FileError(fileNames.keys, `${path} (kid ${JSON.stringify(kid)}): ${error.message}`, restore);
  }
}

function isPublished({ kid, alg, privateKey }: SigningKeysFile['keys'][number], jwks: PublicJWKS): boolean {
  const published = jwks.keys.find((key) => key.kid === kid);
  if (published?.alg !== alg) return false;
  // As they are written, not as the import would write them: an imported key may spell its numbers otherwise.
  return Object.entries(publicHalf(privateKey)).every(([name, value]) => published[name] === value);
}

function parse<T>(file: keyof typeof fileNames, text: string | undefined, schema: ZodType<T>): T {
  const name = fileNames[file];
  if (text === undefined) {
    throw new FileError(name, 'is missing', 'mount the whole Secret or ConfigMap as a directory, no subPath');
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text.
    throw new FileError(name, 'is not valid JSON', restore);
  }
  const result = schema.safeParse(value);
  if (!result.success) throw new FileError(name, firstProblem(result.error), restore);
  return result.data;
}

// Path and message only: an issue's other members may hold the input.
function firstProblem({ issues }: ZodError): string {
  const [issue] = issues;
  const path = issue?.path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('');
  return `${path?.replace(/^\./, '') || 'its content'}: ${issue?.message}`;
}
