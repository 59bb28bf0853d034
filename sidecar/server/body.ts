import express, { type RequestHandler } from 'express';

// As express.json() has it by itself.
const longestBytes = 100 * 1024;

/**
 * `express.json()` with a short way for what nearly every request is: JSON in UTF-8 that is not compressed, and whose
 * length is told beforehand and is allowed. All else goes the long way. Both make the same of a body.
 */
export function jsonBody(): RequestHandler {
  const longWay = express.json();
  return (request, response, next) => {
    const { 'content-type': type, 'content-encoding': coding, 'content-length': length } = request.headers;
    const bytes = Number(length);
    if (type !== 'application/json' || coding !== undefined || !(bytes > 0 && bytes <= longestBytes)) {
      longWay(request, response, next);
      return;
    }
    let text = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => {
      text += chunk;
    });
    request.on('error', (error) => next(Object.assign(error, { status: 400 })));
    request.on('end', () => {
      try {
        request.body = parse(text);
      } catch (error) {
        next(error);
        return;
      }
      next();
    });
  };
}

/** @throws {SyntaxError} with a status, as body-parser makes it, when the text is no JSON object or list. */
function parse(text: string): unknown {
  // A byte order mark is none of JSON's own, but is let pass.
  const json = text.startsWith('\uFEFF') ? text.slice(1) : text;
  if (json === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    value = undefined;
  }
  if (typeof value === 'object' && value !== null) return value;
  throw Object.assign(new SyntaxError('the body is no JSON object or list'), { status: 400 });
}
