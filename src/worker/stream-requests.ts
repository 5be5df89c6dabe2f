import { randomId } from '../core/clock.ts';
import type { ObjectNamespace } from '../edge/bindings.ts';
import { answerHeader } from './stream-object.ts';

/** Larger requests for background responses are answered where they came in, and live as long as their isolate. */
const maxLookedAt = 32 * 1024 * 1024;

/**
 * Sends a request that is about an answer which outlives its reader to that answer's object; undefined for all others.
 * Judged by address and headers, and for background responses by a look at the body, which may err on the side of an
 * object: everything is decided, authorised and answered in there as it would be here.
 */
export async function throughObject(request: Request, objects: ObjectNamespace): Promise<Response | undefined> {
  const { pathname } = new URL(request.url);
  const known =
    /^strm_(\w{8,64}):\d+$/.exec(request.headers.get('last-event-id') ?? '')?.[1] ??
    /^(?:\/v1)?\/streams\/strm_(\w{8,64})$/.exec(pathname)?.[1] ??
    /^(?:\/v1)?\/responses\/resp_(\w{8,64})(?:\/|$)/.exec(pathname)?.[1]; // only its maker can tell how it stands
  if (known !== undefined) return send(objects, known, new Request(request));
  if (request.method !== 'POST') return undefined;
  if ((request.headers.get('x-tidegate-resumable') ?? 'false') !== 'false') {
    return send(objects, randomId(''), new Request(request));
  }
  if (!/^(\/v1)?\/responses$/.test(pathname)) return undefined;
  if (!(Number(request.headers.get('content-length') ?? Number.POSITIVE_INFINITY) <= maxLookedAt)) return undefined;
  const body = await request.clone().text();
  return /"background"\s*:\s*true/.test(body) ? send(objects, randomId(''), new Request(request)) : undefined;
}

function send(objects: ObjectNamespace, answerId: string, request: Request): Promise<Response> {
  request.headers.set(answerHeader, answerId);
  return objects.get(objects.idFromName(answerId)).fetch(request);
}
