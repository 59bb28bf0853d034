import { createReadStream, existsSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createInterface } from 'node:readline';

/** What an audit event says at level Metadata, as far as tests ask. */
export interface AuditEvent {
  stage: 'ResponseStarted' | 'ResponseComplete' | 'Panic';
  requestURI: string;
  verb: string;
  user: { username: string; groups?: string[]; extra?: Record<string, string[]> };
  userAgent?: string;
  objectRef?: {
    resource?: string;
    subresource?: string;
    namespace?: string;
    name?: string;
    apiGroup?: string;
  };
  responseStatus?: { code?: number; reason?: string; message?: string };
  annotations?: Record<string, string>;
  requestReceivedTimestamp: string;
  stageTimestamp: string;
}

/** The requests of an audit log that were answered, in the order of their answers. */
export async function readAuditLog(
  file: string,
  keep: (event: AuditEvent) => boolean = () => true,
): Promise<AuditEvent[]> {
  if (!existsSync(file)) return [];
  const events: AuditEvent[] = [];
  for await (const line of createInterface(createReadStream(file))) {
    const event = answered(line);
    if (event && keep(event)) events.push(event);
  }
  return events;
}

/** Reads on in an audit log: each call resolves with the requests that were answered since the one before. */
export function followAuditLog(
  file: string,
  keep: (event: AuditEvent) => boolean = () => true,
): () => Promise<AuditEvent[]> {
  let offset = statSync(file).size;
  return async () => {
    const handle = await open(file);
    try {
      const { size } = await handle.stat();
      const { buffer } = await handle.read(Buffer.alloc(size - offset), 0, size - offset, offset);
      const whole = buffer.subarray(0, buffer.lastIndexOf('\n') + 1);
      offset += whole.length;
      const events = whole.toString().split('\n').map(answered);
      return events.filter((event) => event !== undefined).filter(keep);
    } finally {
      await handle.close();
    }
  };
}

function answered(line: string): AuditEvent | undefined {
  try {
    const event: AuditEvent = JSON.parse(line);
    return event.stage === 'ResponseComplete' ? event : undefined;
  } catch {
    // The last line may be half written.
    return undefined;
  }
}

/** Whether a request may change something. */
export function isWrite(event: AuditEvent): boolean {
  return !['get', 'list', 'watch'].includes(event.verb);
}
